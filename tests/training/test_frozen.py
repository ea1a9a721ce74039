"""Runs with TRAIN.freeze_stages 5: features are computed once and survive kills, and only the classifier is trained."""

import json
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import paddle
import pytest

from conftest import run_narrow, write_list
from fault_tools import NarrowTraining, Training, difference, manifest, steps, train_narrow, wait_for
from models.weights.fitting import load_model
from models.weights.reading import read_weights
from narrow import narrow
from reader.build import clip_spec, read_section_list
from reader.dataset import read_clip
from training.features import missing_jobs, open_records, record_type
from training.frozen import VIEWS_SEED
from utils.config.loading import load_config
from utils.storage.stamps import signature

VIEWS = 2
RECIPE = [
    "freeze_stages=5", f"feature_views={VIEWS}", "balance_classes=True", "mixup_alpha=0.4", "accumulate_steps=2",
    "schedule=cosine", "learning_rate=0.002", "ema=0.9",
]  # fmt: skip


@pytest.fixture(scope="module")
def pretrained(undisturbed) -> str:
    """Provide the flag for weights to freeze, because random ones are refused."""
    return f"--pretrain={undisturbed / 'TSN.pdparams'}"


@pytest.fixture(scope="module")
def flags(workspace, pretrained, tmp_path_factory) -> list[str]:
    """Provide flags for 2 epochs of 20 videos in classes of different sizes; one video is missing."""
    videos = [*workspace.videos, *(workspace.videos[i] for i in (0, 4, 8, 0, 4, 8, 0, 1, 5)), (Path("none.mp4"), 2)]
    path = write_list(tmp_path_factory.mktemp("list") / "uneven.list", videos)
    settings = [part for key in [*RECIPE, f"filelist={path}"] for part in ("--set", f"TRAIN.{key}")]
    return ["--epoch=2", "--resume=auto", pretrained, *settings]


@pytest.fixture(scope="module")
def alone(workspace, tmp_path_factory, flags) -> Training:
    """Provide a run that nothing stopped."""
    return train_narrow(workspace, tmp_path_factory.mktemp("alone"), *flags)


def kept(save_dir: Path, which: str) -> Path:
    (path,) = (save_dir / "features").glob(f"{which}-*")
    assert path.suffix == ".features"  # not a rank's part
    return path


def test_the_log_says_what_happens(alone):
    names = {which: kept(alone.save_dir, which) for which in ("train", "valid")}
    assert f"features of 20 training videos, {VIEWS} views each: computed once, in " in alone.output
    assert f", and kept in {names['train']}\n" in alone.output
    assert "features of 5 validation videos, 1 centre crop each: computed once, in " in alone.output
    assert alone.output.count("unreadable, replaced by the next video of the list: none.mp4: no such file\n") == 1
    assert [line[:3] for line in steps(alone.save_dir) if line[0] == "valid"] == [("valid", e, 2) for e in range(2)]


def test_features_are_those_of_the_clips_of_training_and_validation(workspace, alone, monkeypatch):
    narrow(monkeypatch.setattr)
    config = load_config(alone.save_dir / "config.yaml")
    model = load_model(config.model, alone.save_dir / "TSN.pdparams")
    cases = [("train", config.train, (64,), VIEWS_SEED), ("valid", config.valid, (1, 64), None)]
    for which, section, shape, seed in cases:
        entries = read_section_list(config, section)
        number = len(entries) * (VIEWS if seed else 1)
        records = open_records(kept(alone.save_dir, which), record_type(shape), number)
        for job in (0, 3, len(records) - 2):
            entry = entries[job % len(entries)]
            clip, _ = read_clip(clip_spec(section, seed), entry.path, index=job)
            with paddle.no_grad():
                exact = model.features(paddle.to_tensor(clip[None])).numpy().mean(axis=(0, 1))
            record = records[job]
            assert (record["video"], record["label"]) == (job % len(entries), entry.label)
            assert np.abs(record["features"].reshape(-1) - exact).max() < 0.02 * exact.max()
            other = records[job - 1]["features"].reshape(-1).astype(np.float32)
            assert np.abs(other - exact).max() > 0.05 * exact.max()  # so that a confusion would show


def test_only_the_classifier_is_trained(alone):
    first, last = (read_weights(alone.save_dir / f"TSN_epoch{epoch}.pdparams") for epoch in (0, 1))
    changed = {name for name in first if not np.array_equal(first[name], last[name])}
    assert changed == {"fc.weight", "fc.bias"}
    assert manifest(alone.save_dir)["train"]["feature_views"] == VIEWS


def test_killed_anywhere_a_run_ends_with_the_same_bits(workspace, tmp_path, flags, alone):
    save_dir = tmp_path / "save"
    often = [*flags, "--set", "TRAIN.checkpoint_minutes=0.00001"]
    killed = NarrowTraining(workspace, tmp_path, *often, TSN_TEST_REST="features")
    begun = lambda: [path for path in save_dir.glob("features/train-*") if path.stat().st_size]  # noqa: E731
    wait_for(begun, "some features", pause=0.001)
    killed.signal(signal.SIGKILL).ends(-signal.SIGKILL)
    with open(begun()[0], "ab") as file:
        file.write(b"torn")
    killed = NarrowTraining(workspace, tmp_path, *often, TSN_TEST_REST="Epoch 1, iter 1").says(", continues after ")
    log = save_dir / "train_log.jsonl"  # the screen only has a line for each epoch
    wait_for(
        lambda: log.exists() and '"mode":"train","epoch":1,"iter":1,' in log.read_text().replace(" ", ""), "a step"
    )
    killed.signal(signal.SIGKILL).ends(-signal.SIGKILL)
    resumed = train_narrow(workspace, tmp_path, *flags)
    assert re.search("resumed from .*: epoch 1, iter 1\n", resumed.output)
    assert f"features of 20 training videos, {VIEWS} views each: kept in " in resumed.output
    again = f"{VIEWS} of {20 * VIEWS} computed again: {VIEWS} could not be read, the files of 0 have changed"
    assert f"features of 20 training videos, {VIEWS} views each: {again}\n" in resumed.output
    for name in ("TSN.pdparams", "TSN.pdopt", "TSN_best.pdparams"):
        assert (save_dir / name).read_bytes() == (alone.save_dir / name).read_bytes(), name
    for which in ("train", "valid"):
        assert kept(save_dir, which).read_bytes() == kept(alone.save_dir, which).read_bytes()
    assert steps(save_dir) == steps(alone.save_dir)


def test_two_processes_compute_the_same(workspace, tmp_path, flags, alone):
    save_dir = train_narrow(workspace, tmp_path, *flags, "--nproc=2").save_dir
    dtype = record_type((64,))
    ours, theirs = (open_records(kept(folder, "train"), dtype, 20 * VIEWS) for folder in (save_dir, alone.save_dir))
    assert np.array_equal(ours["video"], theirs["video"]) and np.array_equal(ours["reason"], theirs["reason"])
    np.testing.assert_allclose(ours["features"], theirs["features"], rtol=2e-3, atol=1e-3)
    assert difference(save_dir / "TSN.pdparams", alone.save_dir / "TSN.pdparams") < 1e-2
    assert [line[:3] for line in steps(save_dir)] == [line[:3] for line in steps(alone.save_dir)]


def test_eval_measures_what_validation_did(workspace, pretrained, tmp_path):
    """A network that shifts features between frames, three crops with averaged probabilities, and a missing video."""
    test_list = write_list(tmp_path / "test.list", [*workspace.held_out, (Path("none.mp4"), 2)])
    protocol = [
        "MODEL.name=TSM",
        "MODEL.average=probabilities",
        "VALID.crops=3",
        "TRAIN.target_size=36",
        f"VALID.filelist={test_list}",
    ]
    settings = [part for key in protocol for part in ("--set", key)]
    recipe = [part for key in RECIPE for part in ("--set", f"TRAIN.{key}")]
    ended = train_narrow(workspace, tmp_path, "--epoch=1", pretrained, *recipe, *settings)
    assert "features of 6 validation videos, 3 crops each" in ended.output
    assert "unreadable, not counted: none.mp4: no such file" in ended.output
    line = json.loads((ended.save_dir / "train_log.jsonl").read_text().splitlines()[-1])
    assert (line["videos"], line["unreadable"]) == (5, 1)
    keys = [*protocol[:2], "TEST.crops=3", "TEST.seg_num=3", f"TEST.filelist={test_list}"]
    weights, out = ended.save_dir / "TSM_best.pdparams", tmp_path / "eval"
    # The precision in which features are computed: bfloat16 if the processor has it.
    settings = [f"--weights={weights}", "--use_gpu=False", "--precision=auto"]
    settings += [part for key in keys for part in ("--set", key)]
    run_narrow("eval", workspace.config, f"--save_dir={out}", *settings).check_returncode()
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["top1_acc"] == line["top1_acc"]
    assert metrics["loss"] == pytest.approx(line["loss"], rel=1e-3)


def test_other_protocols_have_their_own_features_and_old_ones_go(workspace, tmp_path, flags, alone):
    folder = shutil.copytree(alone.save_dir / "features", tmp_path / "save" / "features")
    for number in range(4):
        (folder / f"train-{number}.features").write_bytes(b"older")
    (folder / "notes.txt").write_text("mine")
    other = train_narrow(workspace, tmp_path, *flags, "--epoch=1", "--learning_rate=0.1", "--set", "VALID.seg_num=2")
    assert f"features of 20 training videos, {VIEWS} views each: kept in " in other.output
    assert "features of 5 validation videos, 1 centre crop each: computed once" in other.output
    names = {path.name for path in folder.iterdir()}
    assert len(names) == 5 and "notes.txt" in names  # of this run, two older files, and a file of the user


def test_features_of_replaced_and_of_repaired_videos_are_computed_again(workspace, pretrained, tmp_path):
    for number, (path, _) in enumerate(workspace.videos[:4]):
        shutil.copy(path, tmp_path / f"{number}.mp4")
    videos = [(tmp_path / f"{number}.mp4", number) for number in range(4)]
    listed, missing = write_list(tmp_path / "x.list", videos), tmp_path / "3.mp4"
    keys = ["freeze_stages=5", "feature_views=2", f"filelist={listed}", "max_unreadable=0.3"]
    flags = [
        "--epoch=1",
        "--valid_interval=0",
        pretrained,
        *(part for key in keys for part in ("--set", f"TRAIN.{key}")),
    ]
    missing.rename(tmp_path / "away.mp4")
    train_narrow(workspace, tmp_path, *flags)
    (tmp_path / "away.mp4").rename(missing)
    shutil.copy(workspace.videos[5][0], tmp_path / "0.mp4")
    again = train_narrow(workspace, tmp_path, *flags)
    said = "4 of 8 computed again: 2 could not be read, the files of 2 have changed"
    assert f"features of 4 training videos, 2 views each: {said}\n" in again.output
    anew = train_narrow(workspace, tmp_path / "anew", *flags)
    paths = [kept(run.save_dir, "train") for run in (again, anew)]
    files = np.array([signature(str(path)) for path, _ in videos])
    assert not len(missing_jobs(paths[0], record_type((64,)), 8, files).jobs)
    ours, theirs = (open_records(path, record_type((64,)), 8) for path in paths)
    for name in ("job", "video", "label", "file", "reason"):
        assert np.array_equal(ours[name], theirs[name]), name
    np.testing.assert_allclose(ours["features"], theirs["features"], rtol=2e-3, atol=1e-3)


def test_too_many_unreadable_videos_end_the_run_before_all_is_computed(workspace, tmp_path, flags):
    videos = [*workspace.videos, (Path("none.mp4"), 2), (Path("nothing.mp4"), 2)]
    path = write_list(tmp_path / "bad.list", videos)
    ended = train_narrow(workspace, tmp_path, *flags, "--set", f"TRAIN.filelist={path}", code=2)
    assert "2 of 12 training videos are unreadable, more than TRAIN.max_unreadable allows" in ended.errors[0]
    assert not list((tmp_path / "save").glob("TSN*"))

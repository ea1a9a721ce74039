"""Test where a run starts with --resume and --pretrain, and what is refused."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import paddle
import pytest

from conftest import ROOT, Workspace, says
from models import build_model
from reader.filelist import Entry, FileList
from training import start as module
from training.amp import Amp, check_num_gpus
from training.checkpoint import Progress, save_checkpoint
from training.start import Start, check_agreement, describe_data, describe_run, find_start
from utils.config.flags import parse_flags
from utils.config.loading import load_config
from utils.config.train_keys import TrainConfig
from utils.errors import InputError
from utils.processes.ranks import World


@pytest.fixture
def model(workspace, narrow_networks):
    return build_model(load_config(str(workspace.folder / "tiny.yaml"), {}, ()).model)


def start(workspace: Workspace, *flags: str, num_videos: int = 10, data: Mapping[str, str] = MappingProxyType({})):
    """Return the start of a run with these flags. data: digests by name, see `describe_data`."""
    parsed = parse_flags("train", [workspace.config, *flags])
    return find_start(parsed, load_config(parsed.config, parsed.section_overrides, parsed.sets), num_videos, data)


def test_a_checkpoint_of_the_same_run_is_taken(workspace, saved, capsys):
    prefix = saved("TSN_epoch0", 1, 0)
    assert start(workspace, f"--resume={prefix}").checkpoint.progress == Progress(1, 0, 5, 10, 4)
    assert start(workspace, f"--save_dir={prefix.parent}", "--resume=auto").checkpoint.prefix == prefix
    assert start(workspace, f"--resume={prefix}", "--model_name=T-sn").checkpoint.prefix == prefix
    assert capsys.readouterr().out == ""


WITHIN = "stops within epoch 1", "steps would change"
CONTRADICTIONS = [
    (["--set", "MODEL.num_classes=5"], 10, (1, 0), ("MODEL.num_classes 4", "the configuration has 5")),
    (["--set", "MODEL.num_layers=34"], 10, (1, 0), ("MODEL.num_layers 18", "the configuration has 34")),
    (["--set", "MODEL.name=TSM"], 10, (1, 0), ("MODEL.name 'TSN'", "the configuration has 'TSM'")),
    (
        ["--set", "MODEL.backbone=resnet_vd"],
        10,
        (1, 0),
        ("MODEL.backbone 'resnet'", "the configuration has 'resnet_vd'"),
    ),
    (["--epoch=1"], 10, (1, 2), ("in epoch 1, counted from 0", "TRAIN.epoch ends after 1")),
    (["--batch_size=2"], 10, (1, 2), (*WITHIN, "TRAIN.batch_size", "was 4", "is 2")),
    ([], 12, (1, 2), (*WITHIN, "the number of videos", "was 10", "is 12")),
    (["--set", "TRAIN.balance_classes=True"], 10, (1, 2), (*WITHIN, "TRAIN.balance_classes", "was False", "is True")),
    (["--set", "TRAIN.freeze_stages=3"], 10, (1, 0), ("TRAIN.freeze_stages 0", "configuration has 3", "momentum")),
]


@pytest.mark.parametrize(("flags", "num_videos", "stands", "pieces"), CONTRADICTIONS)
def test_a_checkpoint_that_contradicts_stops(workspace, saved, flags, num_videos, stands, pieces):
    prefix = saved("TSN_epoch1", *stands)
    with pytest.raises(InputError) as error:
        start(workspace, f"--resume={prefix}", *flags, num_videos=num_videos)
    says(error.value, f"--resume={prefix}: {prefix} ", *pieces)


def test_a_checkpoint_from_before_a_key_has_its_default(workspace, saved, about, capsys):
    del about["model"]["backbone"], about["model"]["dropout"]
    prefix = saved("TSN_epoch0", 1, 0)
    assert start(workspace, f"--resume={prefix}").checkpoint.prefix == prefix
    assert capsys.readouterr().out == ""
    start(workspace, f"--resume={prefix}", "--set", "MODEL.dropout=0.5")
    says(capsys.readouterr().out, f"--resume={prefix}: {prefix}: ", "MODEL.dropout", "was 0.0", "0.5")
    with pytest.raises(InputError) as error:
        start(workspace, f"--resume={prefix}", "--set", "MODEL.backbone=resnet_vd")
    says(error.value, f"--resume={prefix}: ", "MODEL.backbone 'resnet'", "the configuration has 'resnet_vd'")


def test_changed_settings_are_said(workspace, saved, capsys):
    prefix = saved("TSN_epoch0", 1, 0)
    start(workspace, f"--resume={prefix}", "--learning_rate=0.5", "--epoch=7", "--batch_size=2", num_videos=11)
    changes = [
        ("TRAIN.batch_size", "was 4", "with 2"), ("TRAIN.epoch", "was 2", "with 7"),
        ("TRAIN.learning_rate", "was 0.01", "with 0.5"), ("the number of videos", "was 10", "with 11"),
    ]  # fmt: skip
    for line, change in zip(capsys.readouterr().out.splitlines(), changes, strict=True):
        says(line, f"--resume={prefix}: {prefix}: ", *change)


def test_a_checkpoint_that_is_older_than_a_key_has_its_default(workspace, saved, capsys):
    prefix = saved("TSN_epoch0", 1, 0)
    manifest = json.loads(Path(f"{prefix}.json").read_text())
    for key in ("sampling", "multi_scale_crop"):
        del manifest["train"][key]
    Path(f"{prefix}.json").write_text(json.dumps(manifest))
    start(workspace, f"--resume={prefix}", "--set", "TRAIN.multi_scale_crop=5")
    says(capsys.readouterr().out, f"--resume={prefix}: {prefix}: ", "TRAIN.multi_scale_crop", "was none", "with 5")


def test_a_list_of_milestones_is_compared_as_the_manifest_has_it(workspace, small, tmp_path, capsys):
    config = load_config(str(workspace.folder / "tiny.yaml"), {}, ["TRAIN.milestones=[1, 2]"])
    save_checkpoint(tmp_path / "TSN_epoch0", *small, Progress(1, 0, 5, 10, 4), describe_run(config, {}))
    resume = f"--resume={tmp_path / 'TSN_epoch0'}"
    start(workspace, resume, "--set", "TRAIN.milestones=[1, 2]")
    assert capsys.readouterr().out == ""
    start(workspace, resume, "--set", "TRAIN.milestones=[2]")
    says(capsys.readouterr().out, f"{resume}: ", "TRAIN.milestones", "was [1, 2]", "with [2]")
    start(workspace, resume)
    says(capsys.readouterr().out, f"{resume}: ", "TRAIN.milestones", "was [1, 2]", "with None")


def test_weights_alone_start_a_fine_tuning_run_at_epoch_0(workspace, model, tmp_path, capsys):
    path = tmp_path / "TSN.pdparams"
    paddle.save(model.state_dict(), str(path))
    for resume in (path, path.with_suffix("")):
        found = start(workspace, f"--resume={resume}")
        assert (found.weights, found.checkpoint) == (str(path), None)
    assert found.load(model) == {}
    resumed, loaded, *_ = capsys.readouterr().out.splitlines()
    says(resumed, f"--resume={path} ", "weights only", "starts from them at epoch 0")
    says(loaded, f"weights: {path}: ", "102 parameters loaded")
    state = {name: np.pad(tensor.numpy(), [(0, 0)] * (tensor.ndim - 1) + [(0, name.startswith("fc."))])
             for name, tensor in model.state_dict().items()}  # fmt: skip
    paddle.save(state, str(path))
    with pytest.raises(InputError) as error:
        start(workspace, f"--resume={path}").load(model)
    says(error.value, f"{path}: ", "5 classes", "MODEL.num_classes is 4", "set MODEL.num_classes=5", "--pretrain")


def test_weights_beside_their_momentum_are_only_taken_by_name(workspace, saved):
    prefix = saved("TSN_epoch3", 4, 0)
    Path(f"{prefix}.json").unlink()
    with pytest.raises(InputError) as error:
        start(workspace, f"--resume={prefix}")
    says(error.value, f"--resume={prefix}: ", "torn checkpoint", "TSN_epoch3.json is missing", f"{prefix}.pdparams")
    with pytest.raises(InputError, match="no whole checkpoint in"):  # not the first checkpoint: something is lost
        start(workspace, f"--save_dir={prefix.parent}", "--resume=auto")
    assert start(workspace, f"--resume={prefix}.pdparams").weights == f"{prefix}.pdparams"


def test_auto_without_a_checkpoint_says_that_it_starts_anew(workspace, tmp_path, capsys):
    assert start(workspace, f"--save_dir={tmp_path}", "--resume=auto", "--pretrain=none") == Start()
    says(capsys.readouterr().out, "--resume=auto: ", f"no checkpoint in {tmp_path} ", "starts at epoch 0")


def test_imagenet_weights_are_those_of_a_resnet50(workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError) as error:
        start(workspace)
    says(error.value, "there are ImageNet weights ", "not for resnet-18", "--pretrain=PATH", "--pretrain=none")
    with pytest.raises(InputError) as error:
        start(workspace, "--set", "TRAIN.freeze_stages=5")
    says(error.value, "there are ImageNet weights ", "not for resnet-18", "--pretrain=PATH")
    assert "--pretrain=none" not in str(error.value)
    downloaded = tmp_path / ".paddle" / "weights" / "ResNet50_pretrained"
    downloaded.mkdir(parents=True)
    assert start(workspace, "--set", "MODEL.num_layers=50") == Start(backbone=str(downloaded))
    (tmp_path / "a b").mkdir()
    assert start(workspace, f"--pretrain={tmp_path}/a b") == Start(backbone=f"{tmp_path}/a b")
    assert start(workspace, "--pretrain=None") == Start()


def file_list(videos: list[tuple[str, int]]) -> FileList:
    return FileList(Entry(*video) for video in videos)


TEN, FIVE = [(f"{i}.mp4", i % 4) for i in range(10)], [(f"{i}.mp4", i % 4) for i in range(5)]
SHUFFLED = [TEN[1], TEN[0], *TEN[2:]]
ELSEWHERE = [(f"/mnt/{path}", label) for path, label in TEN]
DATA = {
    "the digest of the training list": "1" * 64, "the digest of the validation list": "2" * 64,
    "the digest of the class names": "3" * 64,
}  # fmt: skip


@pytest.mark.parametrize("name, within", [(name, "validation" not in name) for name in DATA])
def test_another_list_of_the_same_length_is_said_and_within_an_epoch_refused(
    workspace, saved, about, capsys, name, within
):
    about["data"] |= DATA
    between, inside = saved("TSN_epoch0", 1, 0), saved("TSN_epoch1_step2", 1, 2)
    for prefix in (between, inside):
        start(workspace, f"--resume={prefix}", data=DATA)
        without = {other: digest for other, digest in DATA.items() if other != name}
        start(workspace, f"--resume={prefix}", data=without)  # a run without validation, or without names
        assert capsys.readouterr().out == ""
    other = DATA | {name: "f" * 64}
    start(workspace, f"--resume={between}", data=other)
    said = name, f"was {DATA[name][:8]}", "with ffffffff"
    says(capsys.readouterr().out, f"--resume={between}: {between}: ", *said)
    if within:
        with pytest.raises(InputError) as error:
            start(workspace, f"--resume={inside}", data=other)
        says(error.value, f"--resume={inside}: {inside} ", *WITHIN, name, f"was {DATA[name][:8]}", "is ffffffff")
    else:
        start(workspace, f"--resume={inside}", data=other)
        says(capsys.readouterr().out, f"--resume={inside}: {inside}: ", *said)


def test_a_checkpoint_without_digests_goes_on(workspace, saved, about, capsys):
    del about["data"]
    for prefix in (saved("TSN_epoch0", 1, 0), saved("TSN_epoch1_step2", 1, 2)):
        assert start(workspace, f"--resume={prefix}", data=DATA).checkpoint.prefix == prefix
    assert capsys.readouterr().out == ""


def test_the_best_epoch_of_another_validation_list_is_no_longer_the_best(workspace, small, about, tmp_path, capsys):
    about["data"] |= DATA
    prefix = tmp_path / "TSN_epoch3"
    save_checkpoint(prefix, *small, Progress(1, 0, 5, 10, 4, best_top1=97.5, best_epoch=0), about)
    other = DATA | {"the digest of the validation list": "f" * 64}
    found = start(workspace, f"--resume={prefix}", data=other).checkpoint.progress
    assert (found.best_top1, found.best_epoch) == (-1, -1)
    _, line = capsys.readouterr().out.splitlines()
    says(line, f"--resume={prefix}: {prefix}: ", "the best epoch so far, 0,", "on the other list", "starts again")


def test_digests_tell_lists_and_names_apart(workspace, tmp_path):
    config = load_config(str(workspace.folder / "tiny.yaml"), {}, ())
    whole = describe_data(config, file_list(TEN), file_list(FIVE))
    assert whole.keys() == DATA.keys()
    assert describe_data(config, file_list(TEN), file_list([])).keys() == {*DATA} - {
        "the digest of the validation list"
    }
    for number, lists in enumerate([(SHUFFLED, FIVE), (ELSEWHERE, FIVE), ([*TEN[:9], ("9.mp4", 3)], FIVE)]):
        other = describe_data(config, *map(file_list, lists))
        assert {name for name in DATA if other[name] != whole[name]} == {"the digest of the training list"}, number
    (tmp_path / "names.json").write_text('["a", "b", "c", "d"]')
    named = load_config(
        str(workspace.folder / "tiny.yaml"), {"INFER.kinetics_labels": str(tmp_path / "names.json")}, ()
    )
    other = describe_data(named, file_list(TEN), file_list(FIVE))
    assert {name for name in DATA if other[name] != whole[name]} == {"the digest of the class names"}
    (tmp_path / "names.json").unlink()
    with pytest.raises(InputError) as error:
        describe_data(named, file_list(TEN), file_list(FIVE))
    says(error.value, f"{tmp_path / 'names.json'}: ", "no such label list", "INFER.kinetics_labels")


def test_labels_of_other_classes_end_a_run_before_it_trains(workspace):
    others = ROOT / "data/dataset/kinetics_labels.json"  # the default of the key
    config = load_config(workspace.folder / "tiny.yaml", {}, [f"INFER.kinetics_labels={others}"])
    with pytest.raises(InputError) as error:
        describe_data(config, file_list(TEN), file_list(FIVE))
    says(error.value, f"{others}: ", "400 labels", "MODEL.num_classes is 4", "INFER.kinetics_labels; ''")


@pytest.mark.parametrize("stages", [1, 5])
def test_random_weights_are_not_frozen(workspace, saved, about, stages):
    frozen = ["--pretrain=none", "--set", f"TRAIN.freeze_stages={stages}"]
    with pytest.raises(InputError) as error:
        start(workspace, *frozen)
    says(error.value, "--pretrain=none ", f"TRAIN.freeze_stages {stages}: ", "--pretrain=PATH", "TRAIN.freeze_stages=0")
    about["train"]["freeze_stages"] = stages
    prefix = saved("TSN_epoch0", 1, 0)
    assert start(workspace, f"--resume={prefix}", *frozen).checkpoint.prefix == prefix


def test_without_a_network_random_weights_are_advised_where_they_can_learn(workspace, monkeypatch):
    given = []
    monkeypatch.setattr(module, "imagenet_resnet50", lambda otherwise: given.append(otherwise))
    for stages in (0, 5):
        start(workspace, "--set", "MODEL.num_layers=50", "--set", f"TRAIN.freeze_stages={stages}")
    can_learn, frozen = given
    says(can_learn, "", "--pretrain=PATH", "--pretrain=none")
    says(frozen, "", "--pretrain=PATH")
    assert "none" not in frozen


class SecondOfTwo(World):
    """Rank 1 of two; `broadcast` returns the value of its first call, as if it were rank 0's."""

    def broadcast(self, value):
        if not hasattr(self, "theirs"):
            object.__setattr__(self, "theirs", value)
        return self.theirs


@pytest.mark.parametrize(("flags", "lists", "difference"), [
    (["--batch_size=8"], (TEN, FIVE), ["TRAIN.batch_size", "is 8", "on rank 0 4"]),
    (["--set", "TRAIN.engine=onednn"], (TEN, FIVE), ["TRAIN.engine", "is onednn", "on rank 0 eager"]),
    (["--log_interval=3"], (TEN, FIVE), ["--log_interval", "is 3", "on rank 0 10"]),
    ([], ([*TEN, ("a", 1)], FIVE), ["training videos", "is 11", "on rank 0 10"]),
    ([], (TEN, FIVE[1:]), ["validation videos", "is 4", "on rank 0 5"]),
    ([], (SHUFFLED, FIVE), ["the training list's labels", "is {0}", "on rank 0 {1}"]),
    ([], (TEN, SHUFFLED[:5]), ["the validation list's labels", "is {2}", "on rank 0 {3}"]),
    ([], (ELSEWHERE, FIVE), []),
    ([], (TEN, FIVE), []),
])  # fmt: skip
def test_machines_started_with_different_settings_are_refused(workspace, flags, lists, difference):
    world = SecondOfTwo(1, 2)
    digests = [file_list(videos).label_digest[:8] for videos in (SHUFFLED, TEN, SHUFFLED[:5], FIVE)]
    difference = [piece.format(*digests) for piece in difference]
    for given, listed, expected in (([], (TEN, FIVE), []), (flags, lists, difference)):
        parsed = parse_flags("train", [workspace.config, *given])
        config = load_config(parsed.config, parsed.section_overrides, parsed.sets)
        if expected:
            with pytest.raises(InputError) as error:
                check_agreement(world, parsed, config, *map(file_list, listed))
            says(error.value, "rank 1 ", "other settings than rank 0", *expected)
        else:
            check_agreement(world, parsed, config, *map(file_list, listed))


@pytest.mark.parametrize("key", ["amp=O1", "amp=O2", "sync_batch_norm=True", "channels_last=True"])
def test_settings_for_a_gpu_are_refused_on_the_cpu(workspace, key):
    name = key.partition("=")[0]
    config = load_config(str(workspace.folder / "tiny.yaml"), {}, [f"TRAIN.{key}"])
    with pytest.raises(InputError) as error:
        Amp(config.train, "cpu", seeded=True)
    says(error.value, f"TRAIN.{name} ", "needs a GPU")


def test_frozen_batch_norm_keeps_its_statistics(model):
    frames = paddle.to_tensor(np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), "uint8"))
    statistics = model.state_dict()["backbone.bn1._mean"]
    for frozen in (True, False):
        before = statistics.numpy().copy()
        Amp(TrainConfig(freeze_batch_norm=frozen), "cpu", seeded=True).set_training_mode(model)
        model(frames)
        assert np.array_equal(before, statistics.numpy()) == frozen


def test_num_gpus_only_warns(capsys):
    for number, device, ranks in ((8, "gpu", 8), (None, "gpu", 2), (8, "cpu", 1)):
        check_num_gpus(number, device, ranks)
    assert capsys.readouterr().out == ""
    check_num_gpus(8, "gpu", 2)
    says(capsys.readouterr().out, "warning: TRAIN.num_gpus is 8", "uses 2", "CUDA_VISIBLE_DEVICES")


CLASSES = ["jump", "run", "sit", "walk"]


@pytest.mark.parametrize(("before", "kept", "new"), [
    (["run", "jump", "walk"], {0: 1, 1: 0, 3: 2}, ["new: 'sit'"]), (CLASSES, {0: 0, 1: 1, 2: 2, 3: 3}, []),
    (["swim", "ride"], {}, []), (None, {}, []),
])  # fmt: skip
def test_classifier_rows_of_own_weights_follow_the_names_of_their_classes(
    workspace, tmp_path, capsys, narrow_networks, before, kept, new
):
    (tmp_path / "labels.json").write_text(json.dumps(CLASSES))
    labels = ["--set", f"INFER.kinetics_labels={tmp_path / 'labels.json'}"]
    config = load_config(str(workspace.folder / "tiny.yaml"), {"INFER.kinetics_labels": ""}, ())
    old = build_model(replace(config.model, num_classes=len(before or CLASSES)))
    optimizer = paddle.optimizer.Momentum(0.1, parameters=old.parameters())
    block = paddle.static.Program().global_block()
    optimizer._create_accumulators(block, [p for p in old.parameters() if not p.stop_gradient])
    about = describe_run(replace(config, model=replace(config.model, num_classes=len(before or CLASSES))), {})
    prefix = tmp_path / "TSN"
    save_checkpoint(prefix, old, optimizer, Progress(1, 0, 5, 10, 4), about | {"classes": before})
    found = start(workspace, f"--pretrain={prefix}.pdparams", *labels)
    assert found == Start(backbone=f"{prefix}.pdparams", rows=kept)
    if said := capsys.readouterr().out:
        says(said, "the classifier's rows ", f"{len(kept)} of 4 classes", f"{prefix}.json", *new)
    assert bool(said) == bool(kept) and ("new: " in said) == bool(new)
    model = build_model(config.model)
    random = [tensor.numpy().copy() for tensor in (model.fc.weight, model.fc.bias)]
    found.load(model)
    for ours, theirs, before_it in zip((model.fc.weight, model.fc.bias), (old.fc.weight, old.fc.bias), random):
        for k in range(4):
            expected = theirs.numpy()[..., kept[k]] if k in kept else before_it[..., k]
            assert np.array_equal(ours.numpy()[..., k], expected)
    assert np.array_equal(model.backbone.conv1.weight.numpy(), old.backbone.conv1.weight.numpy())
    if kept:  # then other weights under this name, and a damaged manifest
        capsys.readouterr()
        shutil.copy(workspace.folder / "random.pdparams", f"{prefix}.pdparams")
        assert start(workspace, f"--pretrain={prefix}.pdparams", *labels).rows == {}
        says(capsys.readouterr().out, f"{prefix}.json ", "not of TSN.pdparams", "random numbers")
        manifest = json.loads(Path(f"{prefix}.json").read_text())
        Path(f"{prefix}.json").write_text(json.dumps(manifest | {"classes": [1]}))
        assert start(workspace, f"--pretrain={prefix}.pdparams", *labels).rows == {}
        says(capsys.readouterr().out, f"{prefix}.json: ", "classes", "num_classes", "random numbers")

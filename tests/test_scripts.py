"""Run the scripts as a user does, each in its own process, and check what they print and write."""

import csv
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import LABELS, ROOT, run_narrow, run_script, says
from results.pages.words import in_english
from utils.config.flags import Flags, parse_flags
from utils.config.loading import Config, load_config

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
NUMBER = r"\d+\.\d+"
METRICS = rf"Loss: {NUMBER}, top1_acc: {NUMBER}"  # with 4 classes there is no top 5
TRAIN_LINE = re.compile(rf"\[TRAIN {STAMP}\] Epoch (\d+), iter (\d+), time {NUMBER}, {METRICS}")
VALID_LINE = re.compile(rf"\[VALID {STAMP}\] Epoch (\d+), {METRICS}, videos: 5, unreadable: 0, time {NUMBER}")
TRAIN_KEYS = ["mode", "epoch", "iter", "loss", "top1_acc", "lr", "videos_per_second", "data_wait"]


def run(*arguments: str, start: Callable = run_narrow) -> subprocess.CompletedProcess:
    """Return the ended process of a script, which must succeed; by default its network is narrow."""
    ended = start(*arguments, OMP_NUM_THREADS="1")  # more threads would wait for each other
    assert ended.returncode == 0, ended.stderr
    return ended


def json_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rows(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def trained(workspace, tmp_path_factory) -> tuple[str, Path]:
    """Provide what training printed, and its folder: 10 videos in batches of 4, 2 epochs, validated after each."""
    folder = tmp_path_factory.mktemp("trained") / "check points"
    flags = [workspace.config, "--pretrain=none", "--fix_random_seed=True", "--log_interval=1", f"--save_dir={folder}"]
    return run("train", *flags).stdout, folder


def test_training_prints_the_originals_lines(trained):
    out, folder = trained
    steps = [(int(m[1]), int(m[2])) for m in map(TRAIN_LINE.fullmatch, out.splitlines()) if m]
    assert steps == [(epoch, step) for epoch in (0, 1) for step in (0, 1, 2)]  # the third step has the last two videos
    assert [int(m[1]) for m in map(VALID_LINE.fullmatch, out.splitlines()) if m] == [0, 1]
    assert re.search(r"^data: 10 videos of .*train\.list; 2 epochs of 3 steps, seed 1000$", out, re.MULTILINE)
    assert "weights: random numbers (--pretrain=none)\n" in out
    assert any(line.startswith(f"saved {folder}/TSN.pdparams") for line in out.splitlines()[-8:])


def test_training_writes_its_log(trained):
    written = json_lines(trained[1] / "train_log.jsonl")
    epochs = [line for line in written if line["mode"] == "epoch"]
    assert [(line["epoch"], line["iter"]) for line in epochs] == [(0, 2), (1, 2)]
    for epoch, line in enumerate(epochs):  # each has batches of 4, 4 and 2 videos, all logged
        steps = [line for line in written if (line["mode"], line["epoch"]) == ("train", epoch)]
        for key in ("loss", "top1_acc"):
            mean = sum(size * step[key] for size, step in zip((4, 4, 2), steps)) / 10
            assert line[key] == pytest.approx(mean, rel=1e-5)
    lines = [line for line in written if line["mode"] != "epoch"]
    assert [(line["mode"], line["epoch"], line["iter"]) for line in lines] == [
        (mode, epoch, step)
        for epoch in (0, 1)
        for mode, step in (("train", 0), ("train", 1), ("train", 2), ("valid", 2))
    ]
    for line in lines:
        assert list(line)[:8] == TRAIN_KEYS
        assert line["loss"] > 0 and 0 <= line["top1_acc"] <= 100 and line["videos_per_second"] > 0
        assert 0 <= line["data_wait"] <= 1
    # 6 steps: times 0.1 from the third on and from the fifth on
    assert [line["lr"] for line in lines if line["mode"] == "train"] == pytest.approx(
        [0.01] * 2 + [0.001] * 2 + [1e-4] * 2
    )
    assert [line["videos"] for line in lines if line["mode"] == "valid"] == [5, 5]


def test_training_says_what_is_to_be_looked_at(trained):
    """It warns before the first step and on the page; the last lines compare training with validation."""
    out, folder = trained
    doubt = "5 validation videos: an accuracy of 50% may be 17 to 83 with 95% confidence"
    assert out.index(doubt) < out.index("Epoch 0, iter 0") and doubt in (folder / "report.html").read_text()
    last = [line for line in json_lines(folder / "train_log.jsonl") if line["mode"] == "epoch"][-1]
    assert f"training top1_acc of the last epoch {last['top1_acc']:.2f}, " in out and "chance is 25.00" in out
    assert f"{last['top1_acc']:.2f}</td>" in (folder / "report.html").read_text()


def test_training_draws_its_page(trained):
    """It has the numbers of the last validation, and all curves."""
    html = (trained[1] / "report.html").read_text()
    line = json_lines(trained[1] / "train_log.jsonl")[-1]
    assert f">{line['loss']:,.4f}<" in html and f">{line['top1_acc']:.2f}%<" in html
    captions = [in_english(caption) for caption in re.findall("<figcaption>(.*?)</figcaption>", html)]
    titles = ("Loss", "Top-1 accuracy", "Learning rate", "Speed", "Waiting for data")
    assert len(captions) == len(titles) and all(map(str.startswith, captions, titles))
    assert "10 videos of " in html and "5 videos of " in html and "Resumed" not in html


def test_training_writes_its_checkpoints(trained, workspace):
    folder = trained[1]
    names = {
        f"{name}.{suffix}"
        for name in ("TSN_epoch0", "TSN_epoch1", "TSN", "TSN_best")
        for suffix in ("pdparams", "pdopt", "json")
    }
    assert set(os.listdir(folder)) == {*names, "train_log.jsonl", "config.yaml", "report.html"}
    assert (folder / "TSN.pdparams").read_bytes() == (folder / "TSN_epoch1.pdparams").read_bytes()
    keys = {"TRAIN.save_dir": str(folder), "TRAIN.pretrain": "none"}
    config = load_config(workspace.config.removeprefix("--config="), keys)
    assert load_config(folder / "config.yaml") == config


def test_a_seed_gives_the_same_weights_bit_for_bit(trained, workspace, tmp_path):
    """The number of readers, the buffer and validation must not change the weights."""
    run(
        "train",
        workspace.config,
        "--pretrain=none",
        "--fix_random_seed=True",
        "--report=False",
        f"--save_dir={tmp_path}",
        "--set",
        "VALID.filelist=",
        "--set",
        "TRAIN.num_reader_threads=1",
        "--set",
        "TRAIN.buf_size=1",
    )
    assert {line["mode"] for line in json_lines(tmp_path / "train_log.jsonl")} == {"train", "epoch"}
    assert not list(tmp_path.glob("TSN_best*"))
    for name in ("TSN_epoch0", "TSN_epoch1"):
        for suffix in ("pdparams", "pdopt"):
            assert (tmp_path / f"{name}.{suffix}").read_bytes() == (trained[1] / f"{name}.{suffix}").read_bytes()


def test_a_resumed_run_goes_on_where_it_stood(trained, workspace, tmp_path):
    """Epoch 1 from the checkpoint of epoch 0 gives the same bits as in a run without interruption."""
    for suffix in ("pdparams", "pdopt", "json"):
        (tmp_path / f"TSN_epoch0.{suffix}").symlink_to(trained[1] / f"TSN_epoch0.{suffix}")
    out = run("train", workspace.config, "--resume=auto", "--log_interval=1", f"--save_dir={tmp_path}").stdout
    assert f"resumed from {tmp_path}/TSN_epoch0: epoch 1, iter 0\n" in out
    assert (tmp_path / "TSN.pdparams").read_bytes() == (trained[1] / "TSN.pdparams").read_bytes()

    def losses(folder):
        return [line["loss"] for line in json_lines(folder / "train_log.jsonl") if line["epoch"] == 1]

    assert losses(tmp_path) == losses(trained[1])
    resumed = [line.get("resumed") for line in json_lines(tmp_path / "train_log.jsonl")]
    assert resumed == [[1, 0], None, None, None, None]
    assert "Resumed at epoch 1, iter 0" in in_english((tmp_path / "report.html").read_text())


def weights(folder: Path) -> str:
    return f"--weights={folder / 'TSN.pdparams'}"


@pytest.fixture(scope="module")
def evaluated(trained, workspace, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("evaluated")
    return run("eval", workspace.config, weights(trained[1]), f"--save_dir={folder}").stdout, folder


def test_evaluation(evaluated, trained, workspace):
    out, folder = evaluated
    protocol = r"4 segments, short side 36 \(4:3\), 1 centre crop 32, .*"
    figures = rf"Loss: ({NUMBER}), TOP1_ACC: ({NUMBER}), videos: 5, unreadable: 0"
    last = rf"\[TEST {STAMP}\] {figures}; written to {folder}"
    found = re.fullmatch(last, out.splitlines()[-1])
    metrics = json.loads((folder / "metrics.json").read_text())
    assert float(found[1]) == pytest.approx(metrics["loss"], abs=1e-6) and float(found[2]) == metrics["top1_acc"]
    assert (metrics["videos"], metrics["unreadable"]) == (5, [])
    means = ["top1_interval", "mean_class_acc", "mean_precision", "mean_f1"]
    counted = ["videos", "repeated", "in_train_list", "protocol", "unreadable", "per_class"]
    assert list(metrics) == ["loss", "top1_acc", *means, *counted]
    assert re.fullmatch(protocol, metrics["protocol"]) and str(trained[1]) in metrics["protocol"]
    assert load_config(folder / "config.yaml").test.seg_num == 4

    predictions = rows(folder / "predictions.csv")
    assert [(row["video"], int(row["label"])) for row in predictions] == [
        (str(path), label) for path, label in workspace.held_out
    ]
    right = sum(row["label"] == row["predicted_class"] for row in predictions)
    assert metrics["top1_acc"] == 100 * right / 5 == 100 * sum(row["rank"] == "1" for row in predictions) / 5
    assert metrics["loss"] == pytest.approx(-np.mean([math.log(float(row["true_probability"])) for row in predictions]))
    assert all(row["predicted_name"] == LABELS[int(row["predicted_class"])] for row in predictions)
    assert all(float(row["true_probability"]) <= float(row["probability"]) < 1 for row in predictions)
    kept = np.load(folder / "probabilities.npz")
    assert (kept["paths"].tolist(), kept["labels"].tolist()) == tuple(
        map(list, zip(*((str(path), label) for path, label in workspace.held_out)))
    )
    assert kept["probabilities"].dtype == np.float32 and kept["names"].tolist() == LABELS
    assert kept["probabilities"].max(axis=1) == pytest.approx([float(row["probability"]) for row in predictions])
    per_class = {entry["label"]: entry["videos"] for entry in metrics["per_class"]}
    assert per_class == {"walking_past": 2, "waving": 1, "opening a door": 1, "closing a door": 1}
    confusion = rows(folder / "confusion.csv")
    assert sum(int(value) for row in confusion for name, value in row.items() if name in LABELS) == 5


def test_the_page_of_an_evaluation_has_its_numbers(evaluated):
    metrics = json.loads((evaluated[1] / "metrics.json").read_text())
    html = (evaluated[1] / "report.html").read_text()
    assert f"{metrics['top1_acc']:.2f}% of 5 videos right</span>" in html and html.count(metrics["protocol"]) == 1
    assert f"<strong>{metrics['loss']:.4f}</strong>" in html
    table = html.split('id="classes"')[1].split("</table>")[0]
    found = re.findall(r'<tr>.*?<bdi>(.*?)</bdi>.*?data-value="(.*?)".*?<td class="n">(\d+)<', table)
    shown = {name.replace("<wbr>", ""): (float(top1), int(videos)) for name, top1, videos in found}
    assert shown == {entry["label"]: (entry["top1_acc"], entry["videos"]) for entry in metrics["per_class"]}
    mistakes = sum(row["rank"] != "1" for row in rows(evaluated[1] / "predictions.csv"))
    assert html.count("<img ") == 4 * mistakes and html.count('<article class="card"') == mistakes  # 4 segments


def test_the_log_of_training_agrees_with_the_evaluation(trained, workspace, tmp_path):
    """With the same segments, validation and eval.py give the same numbers."""
    how = ("--set", "TEST.seg_num=3", "--batch_size=5", "--report=False")
    run("eval", workspace.config, weights(trained[1]), f"--save_dir={tmp_path}", *how)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    valid = json_lines(trained[1] / "train_log.jsonl")[-1]
    assert metrics["loss"] == pytest.approx(valid["loss"], rel=1e-5)
    assert metrics["top1_acc"] == valid["top1_acc"]


@pytest.fixture(scope="module")
def predicted(trained, workspace, tmp_path_factory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("predicted")
    flags = [
        workspace.config,
        weights(trained[1]),
        f"--save_dir={folder}",
        "--batch_size=8",
        "--set",
        "INFER.precision=float32",
    ]
    return run("predict", *flags).stdout, folder


def test_prediction_of_a_list(predicted, workspace):
    """A batch of 8 with only 5 videos gives 5 results; the original printed none."""
    out, folder = predicted
    results = json.loads((folder / "predictions.json").read_text())
    assert [result["video"] for result in results] == [str(path) for path, _ in workspace.held_out]
    assert f"predicted 5 of 5 videos, 0 unreadable; written to {folder}" == out.splitlines()[-1]
    table = rows(folder / "predictions.csv")
    assert len(table) == 15 and list(table[0]) == ["video", "rank", "class_id", "label", "probability", "error"]
    for result in results:
        assert list(result) == ["video", "predictions"] and len(result["predictions"]) == 3  # MODEL.topk
        values = [p["probability"] for p in result["predictions"]]
        assert values == sorted(values, reverse=True) and 0.5 < sum(values) < 1
        best = result["predictions"][0]
        assert f"{result['video']}: {best['label']} {100 * best['probability']:.1f}%\n" in out
        for rank, p in enumerate(result["predictions"], start=1):
            assert p["label"] == LABELS[p["class_id"]]
            row = next(row for row in table if (row["video"], row["rank"]) == (result["video"], str(rank)))
            assert (int(row["class_id"]), row["label"], float(row["probability"]), row["error"]) == (*p.values(), "")


def test_the_page_of_a_prediction_has_its_frames(predicted):
    html = (predicted[1] / "report.html").read_text()
    assert html.count('<article class="card"') == 5 and html.count("<img ") == 5 * 3
    results = json.loads((predicted[1] / "predictions.json").read_text())
    for result in results:
        assert f"<bdi>{result['video']}</bdi>" in html
        assert all(f">{100 * p['probability']:.1f}%<" in html for p in result["predictions"])


def probabilities(folder: Path) -> dict[str, dict[int, float]]:
    results = json.loads((folder / "predictions.json").read_text())
    return {result["video"]: {p["class_id"]: p["probability"] for p in result["predictions"]} for result in results}


def assert_close(folder: Path, other: Path, tolerance: float = 1e-5) -> None:
    ours, theirs = probabilities(folder), probabilities(other)
    for video, classes in ours.items():
        assert classes == pytest.approx({k: p for k, p in theirs[video].items() if k in classes}, abs=tolerance)


def test_prediction_of_one_video(predicted, trained, workspace, tmp_path):
    """The video wins over the list, and --infer_topk over the configuration."""
    video = workspace.held_out[3][0]
    run(
        "predict", workspace.config, weights(trained[1]), f"--save_dir={tmp_path}", f"--video_path={video}",
        "--infer_topk=2", "--filelist=not.read", "--report=False", "--features=segments",
        "--set", "INFER.precision=float32",
    )  # fmt: skip
    names = {".made.json", "config.yaml", "predictions.json", "predictions.csv", "features.npy"}
    assert set(os.listdir(tmp_path)) == names
    assert np.load(tmp_path / "features.npy").shape == (1, 3, 64)
    assert [(video, len(classes)) for video, classes in probabilities(tmp_path).items()] == [(str(video), 2)]
    assert_close(tmp_path, predicted[1])
    assert not (tmp_path / "report.html").exists()


def test_an_exported_network_gives_the_same_probabilities(predicted, trained, workspace, tmp_path):
    out = run("export", workspace.config, weights(trained[1]), f"--save_dir={tmp_path / 'exported'}").stdout
    assert "uint8 frames [N, 3, 32, 32, 3] in, probabilities [N, 4] out" in out.splitlines()[-1]
    flags = [f"--weights={tmp_path / 'exported'}", f"--save_dir={tmp_path / 'predicted'}", "--report=False"]
    run("predict", workspace.config, *flags, "--set", "INFER.precision=float32")
    assert_close(tmp_path / "predicted", predicted[1])


def test_trained_weights_need_no_configuration_and_refuse_another_one(predicted, trained, workspace, tmp_path):
    """Their manifest describes the network, the protocol and the class names."""
    flags, videos = [weights(trained[1]), f"--save_dir={tmp_path}"], f"filelist={workspace.folder / 'test.list'}"
    predict = ["predict", *flags, "--report=False", f"--{videos}", "--set", "INFER.precision=float32"]
    out = run(*predict).stdout
    assert f"(configuration: {trained[1] / 'TSN.json'})" in out
    assert any(f": {label} " in out for label in LABELS)
    assert (tmp_path / "predictions.json").read_text() == (predicted[1] / "predictions.json").read_text()
    for command in (["eval", *flags, "--set", f"TEST.{videos}"], [*predict, workspace.config], ["export", *flags]):
        ended = run_narrow(*command, "--model_name=TSM")
        assert ended.returncode == 2, ended.stderr
        says(ended.stderr.splitlines()[-1], f"error: {trained[1]}", "TSN.json", "MODEL.name TSN ", "has TSM")


def test_a_runs_folder_is_its_best_weights_and_its_configuration(trained, workspace, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("TSN.pdparams", "TSN_best.pdparams", "config.yaml"):
        (folder / name).symlink_to(trained[1] / name)
    (folder / "TSN.json").write_text("{}")
    video = f"--video_path={workspace.held_out[0][0]}"
    given = ["predict", f"--weights={folder}", video, f"--save_dir={tmp_path}/out", "--report=False"]
    out = run(*given).stdout
    assert f"(configuration: {folder}/config.yaml)\n" in out and "TSN_best.pdparams" in out
    other = run_narrow(*given, workspace.config, "--set", "MODEL.num_layers=34")
    assert other.returncode == 2 and f"--config={folder}/config.yaml\n" in other.stderr


def test_golden_losses(workspace, tmp_path):
    """Compare the first 10 steps, with fixed weights, videos and augmentation, with figures of an earlier version.

    They were computed by Paddle 3.3.1 on the CPU, eagerly. SSE4.2 and AVX-512 agreed to 6 digits, as does oneDNN, which
    this test uses.
    """
    golden = [1.264315, 1.461686, 1.538959, 1.663312, 1.477107, 1.557627, 1.413703, 1.708689, 1.506912, 1.568936]
    (tmp_path / "ten.list").write_text((workspace.folder / "train.list").read_text() * 5)
    run(
        "train", workspace.config, f"--resume={workspace.folder / 'random.pdparams'}", "--fix_random_seed=True",
        "--use_gpu=False", "--log_interval=1", "--valid_interval=0", "--report=False", "--batch_size=5", "--epoch=1",
        "--learning_rate=0.001", "--set", f"TRAIN.filelist={tmp_path / 'ten.list'}", f"--save_dir={tmp_path / 'out'}",
        "--set", "TRAIN.engine=onednn", start=run_script,
    )  # fmt: skip
    lines = json_lines(tmp_path / "out" / "train_log.jsonl")
    losses = [line["loss"] for line in lines if line["mode"] == "train"]
    assert losses == pytest.approx(golden, abs=5e-6)


# ---- run.sh

SHELL_SETTINGS = (
    "pretrain",
    "resume",
    "weights",
    "use_gpu",
    "save_dir",
    "log_interval",
    "valid_interval",
    "fix_random_seed",
    "batch_size",
    "learning_rate",
    "epoch",
    "filelist",
    "video_path",
    "infer_topk",
)


def run_sh(*words: str, **settings: str) -> subprocess.CompletedProcess:
    """Run `bash run.sh WORDS` from another folder, with the settings in its environment."""
    environment = {k: v for k, v in os.environ.items() if k not in SHELL_SETTINGS}
    environment |= {"VIRTUAL_ENV": sys.prefix, "OMP_NUM_THREADS": "1", **settings}
    return subprocess.run(
        ["bash", str(ROOT / "run.sh"), *map(str, words)],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def started(tmp_path) -> Callable[..., tuple[Flags, Config]]:
    """Provide a function like `run_sh` that returns the flags and the configuration of the script to be started.

    It uses a virtual environment whose Python has all packages and writes its arguments to a file.
    """
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\n[ "$1" = -m ] || printf "%s\\n" "$@" > "{tmp_path}/called"\n')
    python.chmod(0o755)

    def start(script: str, *words: str, **settings: str) -> tuple[Flags, Config]:
        ended = run_sh(*words, VIRTUAL_ENV=str(tmp_path / "venv"), **settings)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        name, *arguments = (tmp_path / "called").read_text().splitlines()
        assert name == f"{script}.py"
        flags = parse_flags(script, arguments)
        return flags, load_config(flags.config, flags.section_overrides, flags.sets)

    return start


def test_run_sh_takes_settings_from_the_environment_and_flags(started, workspace):
    path = workspace.config.removeprefix("--config=")
    flags, config = started("export", "inference", "TSN", path, weights="the weights", save_dir="exported")
    assert (flags.config, flags.save_dir, config.infer.weights) == (path, "exported", "the weights")

    words = ("predict", "tsn", path, "--set", "INFER.precision=float32", "--save_dir=wins")
    settings = {"weights": "w", "infer_topk": "2", "save_dir": "loses", "filelist": "a list", "video_path": ""}
    flags, config = started("predict", *words, **settings)
    assert (flags.save_dir, config.infer.weights, config.infer.topk) == ("wins", "w", 2)
    assert (config.infer.precision, config.infer.filelist) == ("float32", "a list")
    assert config.model.name == "tsn" and not config.infer.video_path

    flags, config = started("eval", "eval", "TSN", path, "--save_dir=evaluated", weights="w", batch_size="2")
    assert (flags.save_dir, config.test.weights, config.test.batch_size) == ("evaluated", "w", 2)

    settings = {"pretrain": "none", "resume": "auto", "use_gpu": "False", "learning_rate": "0.5", "log_interval": "7"}
    flags, config = started("train", "train", "TSN", path, epoch="5", valid_interval="3", **settings)
    assert (config.train.pretrain, flags.resume, flags.log_interval, flags.valid_interval) == ("none", "auto", 7, 3)
    assert (config.train.epoch, config.train.learning_rate, config.train.use_gpu) == (5, 0.5, False)
    _, config = started("train", "train", "TSN", path, "--set", "TRAIN.batch_size=10", batch_size="3")
    assert config.train.batch_size == 10


@pytest.mark.parametrize(
    "words, code, stderr",
    [
        (("eval", "TSN", "none.yaml"), 2, "error: none.yaml: cannot be read: No such file or directory\n"),
        (("train", "TSN"), 2, None),
        (("fly", "TSN", "configs/tsn.yaml"), 2, None),
        ((), 2, None),
    ],
)
def test_run_sh_ends_as_its_script_does(words, code, stderr):
    ended = run_sh(*words)
    assert ended.returncode == code
    if stderr is None:
        assert len(ended.stderr.splitlines()) == 5 and ended.stderr.startswith("usage: bash run.sh demo")
    else:
        assert ended.stderr == stderr


def test_tsm_goes_the_whole_way(workspace, tmp_path):
    """Train on ResNet-vd with dropout, and resume after an epoch; export, predict and evaluate."""
    keys = [workspace.config, "--model_name=tsm", "--set", "MODEL.backbone=resnet_vd", "--set", "MODEL.dropout=0.5"]
    keys.append("--report=False")
    training = [*keys, "--fix_random_seed=True", "--valid_interval=0"]
    whole, again, exported = (tmp_path / name for name in ("whole", "again", "exported"))
    run("train", *training, "--pretrain=none", f"--save_dir={whole}")
    run("train", *training, f"--resume={whole / 'TSM_epoch0'}", f"--save_dir={again}")
    assert (whole / "TSM.pdparams").read_bytes() == (again / "TSM.pdparams").read_bytes()
    flags = ["--epoch=1", f"--pretrain={whole / 'TSM'}", f"--save_dir={tmp_path / 'b'}"]
    assert "(our names)" in run("train", *training, *flags).stdout
    run("export", *keys[:-1], f"--weights={whole / 'TSM'}", f"--save_dir={exported}")
    results = []
    for weights, to in ((whole / "TSM", "a"), (exported, "b")):
        run("predict", *keys, f"--weights={weights}", f"--save_dir={tmp_path / to}")
        results.append((tmp_path / to / "predictions.json").read_text())
    assert results[0] == results[1] and len(json.loads(results[0])) == 5
    run("eval", *keys, f"--weights={whole / 'TSM'}", f"--save_dir={tmp_path / 'eval'}")
    assert json.loads((tmp_path / "eval" / "metrics.json").read_text())["videos"] == 5


def test_pptsm_v2_goes_the_whole_way(workspace, tmp_path):
    """Train, then train only the classifier on kept features; export, predict and evaluate."""
    keys = [workspace.config, "--model_name=PP-TSMv2", "--set", "MODEL.dropout=0.2", "--report=False"]
    first, second, exported = (tmp_path / name for name in ("first", "second", "exported"))
    training = ["train", *keys, "--epoch=1", "--fix_random_seed=True"]
    run(*training, "--pretrain=none", "--set", "TRAIN.mixup_alpha=0.2", f"--save_dir={first}")
    frozen = ["--set", "TRAIN.freeze_stages=5", "--set", "TRAIN.feature_views=2", f"--save_dir={second}"]
    said = run(*training, f"--pretrain={first / 'PPTSMv2'}", *frozen).stdout
    assert "the classifier's rows of 4 of 4 classes are kept" in said and "2 views each: computed once" in said
    run("export", *keys[:-1], f"--weights={second / 'PPTSMv2'}", f"--save_dir={exported}")
    results = []
    for weights, to in ((second / "PPTSMv2", "a"), (exported, "b")):
        named = [keys[0], "--model_name=PPTSMv2", *keys[2:]]  # which is the same name
        run("predict", *named, f"--weights={weights}", f"--save_dir={tmp_path / to}")
        results.append((tmp_path / to / "predictions.json").read_text())
    assert results[0] == results[1] and len(json.loads(results[0])) == 5
    # TEST has the list of VALID, but another number of segments
    flags = ["--set", "TEST.seg_num=3", f"--weights={second / 'PPTSMv2'}", f"--save_dir={tmp_path / 'eval'}"]
    run("eval", *keys, *flags)
    metrics = json.loads((tmp_path / "eval" / "metrics.json").read_text())
    kept = json_lines(second / "train_log.jsonl")[-1]
    assert metrics["top1_acc"] == kept["top1_acc"] and metrics["loss"] == pytest.approx(kept["loss"], rel=1e-3)


@pytest.mark.parametrize("script", ["eval", "predict", "export"])
def test_weights_to_download_are_of_one_network(script, workspace, tmp_path):
    ended = run_narrow(script, workspace.config, "--model_name=TSM", f"--save_dir={tmp_path / 'out'}")
    assert ended.returncode == 2
    network = "MODEL.name TSN", "MODEL.backbone resnet"
    says(
        ended.stderr, "error: there are weights to download ", *network, "not for TSM with resnet-18", "--weights=PATH"
    )

"""The peers' protocols from end to end: eval.py, predict.py, train.py and export.py with crops and averages.

This file computes the peers' answers independently: their frames, OpenCV's resize, their crops, and the network in
NumPy (fluid_reference.py).
"""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from conftest import LABELS, make_clip, picture, run_narrow, write_list
from fluid_reference import reference_logits
from weight_formats import random_state, write_pickle

SHORT, SIDE, SEGMENTS = 40, 32, 4
SIZES = {"landscape": (61, 47, 13), "portrait": (50, 83, 9), "fits": (59, 40, 12), "short": (70, 52, 3)}


def views_of(frames: np.ndarray, crops: int) -> np.ndarray:
    """Return uint8 [V, T, side, side, 3]: the middle frames of equal parts, resized and cropped as mmaction2 does."""
    interval = len(frames) / SEGMENTS
    chosen = frames[[int(i * interval + interval / 2) for i in range(SEGMENTS)]]
    factor = SHORT / min(frames.shape[1:3])
    height, width = (int(side * factor + 0.5) for side in frames.shape[1:3])
    chosen = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR) for frame in chosen])
    side = SHORT if crops == 3 else SIDE
    x, y = width - side, height - side
    if crops == 1:
        places = [(x // 2, y // 2)]
    elif crops == 3:
        places = [(0, 0), (x // 2 * 2, y // 2 * 2), (x // 2, y // 2)]
    else:
        places = [(i * (x // 4), j * (y // 4)) for i, j in ((0, 0), (4, 0), (0, 4), (4, 4), (2, 2))]
    views = [chosen[:, top : top + side, left : left + side] for left, top in places]
    return np.stack([v for view in views for v in ((view, view[:, :, ::-1]) if crops == 10 else (view,))])


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[Path, np.ndarray]:
    """Return path -> frames uint8 [T, H, W, 3], encoded without loss."""
    folder = tmp_path_factory.mktemp("protocols")
    made = {}
    for name, (width, height, length) in SIZES.items():
        frames = np.stack([picture(width, height, 100 * len(made) + n) for n in range(length)])
        make_clip(folder / f"{name}.mp4", frames)
        made[folder / f"{name}.mp4"] = frames
    return made


@pytest.fixture(scope="module")
def state(clips, tmp_path_factory) -> dict[str, np.ndarray]:
    """Return weights whose probabilities differ from crop to crop and lie far from 0 and 1."""
    state = random_state(18, len(LABELS), seed=3, narrow=True)
    state["fc_0.w_0"] *= 10
    centres = np.concatenate([views_of(frames, 1) for frames in clips.values()])
    state["fc_0.b_0"] -= reference_logits(state, centres, 18).mean(axis=0).astype("float32")
    return state


@pytest.fixture(scope="module")
def files(clips, state, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    write_pickle(folder / "TSN.pdparams", state)
    labelled = [(path, number) for number, path in enumerate(clips)]
    return {"weights": folder / "TSN.pdparams", "list": write_list(folder / "clips.list", labelled)}


def flags_of(section: str, crops: int, average: str) -> list[str]:
    keys = {
        "MODEL.sampling": "uniform", "MODEL.resize": "opencv", "MODEL.crops": crops, "MODEL.average": average,
        f"{section}.seg_num": SEGMENTS, f"{section}.short_size": SHORT, f"{section}.target_size": SIDE,
        f"{section}.use_gpu": False,
    }  # fmt: skip
    return [flag for key, value in keys.items() for flag in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def expected(clips, state) -> Callable[[int, str], np.ndarray]:
    """Return (crops, average) -> the probabilities [N, K] of the peers' protocol."""

    @cache
    def logits(crops: int) -> np.ndarray:
        return np.stack([reference_logits(state, views_of(frames, crops), 18) for frames in clips.values()])

    def probabilities(crops: int, average: str) -> np.ndarray:
        views = logits(crops)
        return softmax(views.mean(axis=1)) if average == "logits" else softmax(views).mean(axis=1)

    return probabilities


@pytest.fixture(scope="module")
def exported(files, workspace, tmp_path_factory) -> Path:
    """Export a configuration with three crops: the graph is of one crop's size. Return the folder."""
    folder = tmp_path_factory.mktemp("exported")
    three = flags_of("INFER", 3, "probabilities")
    ended = run_narrow("export", workspace.config, f"--weights={files['weights']}", f"--save_dir={folder}", *three)
    assert ended.returncode == 0, ended.stderr
    assert f"uint8 frames [N, {SEGMENTS}, {SHORT}, {SHORT}, 3] in" in ended.stdout
    return folder


@pytest.mark.parametrize("crops, average, from_folder", [(3, "probabilities", True), (10, "logits", False)])
def test_predict_gives_the_peers_probabilities(
    crops, average, from_folder, clips, expected, exported, files, workspace, tmp_path
):
    ended = run_narrow(
        "predict", workspace.config, f"--weights={exported if from_folder else files['weights']}", "--report=False",
        f"--filelist={files['list']}", "--batch_size=25", "--precision=float32", f"--infer_topk={len(LABELS)}",
        f"--save_dir={tmp_path / 'out'}", *flags_of("INFER", crops, average),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    side = SHORT if crops == 3 else SIDE
    said = f"{crops} crops {side}" if crops > 1 else f"1 centre crop {side}"
    protocol = f"{SEGMENTS} segments, short side {SHORT} (aspect ratio kept), {said}, sampling uniform, resize opencv"
    assert f"reading: {protocol}, average {average}\nprecision: float32 on cpu" in ended.stdout
    ours = np.zeros((len(clips), len(LABELS)))
    for row, result in zip(ours, json.loads((tmp_path / "out" / "predictions.json").read_text())):
        for prediction in result["predictions"]:
            row[prediction["class_id"]] = prediction["probability"]
    theirs = expected(crops, average)
    np.testing.assert_allclose(ours, theirs, atol=0.0002)
    assert theirs.max(axis=1).mean() < 0.95  # no class is certain
    if crops == 10:  # the centre alone or the other average would give other numbers
        other = "probabilities" if average == "logits" else "logits"
        assert min(np.abs(theirs - expected(*way)).max() for way in ((1, average), (10, other))) > 0.005


def test_eval_measures_it_in_two_processes(expected, files, workspace, tmp_path):
    ended = run_narrow(
        "eval", workspace.config, f"--weights={files['weights']}", "--set", f"TEST.filelist={files['list']}",
        "--precision=float32", f"--save_dir={tmp_path / 'out'}", "--nproc=2", *flags_of("TEST", 10, "probabilities"),
        "--report=False",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    theirs = expected(10, "probabilities")
    right = theirs[range(4), range(4)]
    lines = [json.loads(line) for line in (tmp_path / "out" / "evaluation.jsonl").read_text().splitlines()[1:]]
    lines.sort(key=lambda line: line["position"])
    assert [line["label"] for line in lines] == [0, 1, 2, 3]
    for label, line in enumerate(lines):
        assert line["true_probability"] == pytest.approx(right[label], abs=0.0002)
        assert line["probability"] == pytest.approx(theirs[label, line["predicted_class"]], abs=0.0002)
    assert np.abs(theirs - expected(1, "probabilities")).max() > 0.005  # the centre alone would give other numbers
    assert metrics["loss"] == pytest.approx(-np.log(right).mean(), abs=0.001)
    assert metrics["top1_acc"] == 100 * np.mean(theirs.argmax(axis=1) == range(4))
    assert "10 crops 32, sampling uniform, resize opencv, average probabilities" in metrics["protocol"]


def test_validation_is_the_evaluation(workspace, files, tmp_path):
    """train.py in two processes trains on one crop, validates with ten, and logs the accuracy that eval.py measures."""
    common = ["MODEL.sampling=uniform", "MODEL.resize=opencv", "MODEL.crops=10", "MODEL.average=probabilities"]
    common = [flag for setting in common for flag in ("--set", setting)]
    recipe = ["--set", "TRAIN.multi_scale_crop=13", "--pretrain=none", "--epoch=1", "--nproc=2", "--report=False"]
    ended = run_narrow("train", workspace.config, *common, *recipe, f"--save_dir={tmp_path / 'run'}")
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"^validation: 5 videos of ", ended.stdout, re.MULTILINE)
    valid = json.loads((tmp_path / "run" / "train_log.jsonl").read_text().splitlines()[-1])
    ended = run_narrow(
        "eval", workspace.config, *common, "--set", "TEST.seg_num=3", f"--weights={tmp_path / 'run' / 'TSN.pdparams'}",
        f"--save_dir={tmp_path / 'out'}", "--report=False",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["loss"] == pytest.approx(valid["loss"], rel=1e-4)
    assert metrics["top1_acc"] == valid["top1_acc"]


def test_an_exported_graph_is_of_the_size_of_its_crop(exported, files, workspace, tmp_path):
    ended = run_narrow(
        "predict", workspace.config, f"--weights={exported}", f"--filelist={files['list']}",
        f"--save_dir={tmp_path / 'none'}", *flags_of("INFER", 10, "logits"),
    )  # fmt: skip
    assert ended.returncode == 2 and ended.stderr.startswith(f"error: {exported}: ")
    assert f"target_size {SHORT} " in ended.stderr and f" {SIDE})\n" in ended.stderr
    assert not (tmp_path / "none").exists()

"""Test the warnings before a run's first step, and settings that get none."""

import math

import pytest

from conftest import says, write_list
from fault_tools import NarrowTraining
from reader.filelist import Entry, FileList
from training.beforehand import too_high, warnings
from training.schedule import build_schedule
from utils.config.foreign import list_advice
from utils.config.loading import load_config

TRAIN = [(f"{i}.mp4", i % 4) for i in range(200)]
VALID = [(f"v{i}.mp4", i % 4) for i in range(100)]
BOTH = "in the training list, too"
SINGLE = ("one video a batch: ", "BatchNorm", "a larger TRAIN.batch_size", "TRAIN.freeze_batch_norm=True")
WARM = ("TRAIN.warmup_epochs 2 ", "not shorter than TRAIN.epoch 2")


def said(sets: list[str], train: list, valid: list, devices: int = 1) -> list[str]:
    few = [
        "MODEL.num_classes=4",
        "INFER.kinetics_labels=",
        "TRAIN.batch_size=10",
        "TRAIN.epoch=2",
        "TRAIN.learning_rate=0.01",
    ]
    config = load_config("", {}, [*few, *sets])
    steps = math.ceil(len(train) / config.train.batch_size)
    lists = [FileList(Entry(path, label) for path, label in videos) for videos in (train, valid)]
    return warnings(config, *lists, build_schedule(config.train, steps, config.train.batch_size), devices)


CASES = [
    ([], TRAIN, VALID, []),
    ([], TRAIN, [], []),
    ([], [(path, None) for path, _ in TRAIN], VALID, []),  # pickles, whose labels are inside the files
    ([], TRAIN, TRAIN[:100], [("the validation list ", BOTH, "memorised")]),
    ([], TRAIN, [*VALID, *TRAIN[:3]], [("validation, 103 videos: 3 of its", BOTH)]),
    (
        [],
        TRAIN,
        [*VALID, ("0.mp4", 3)],
        [
            ("validation, 101 videos: 1 of its", BOTH),
            ("1 of the videos of both lists ", "another label"),
        ],
    ),
    (
        [],
        [*TRAIN, ("0.mp4", 1)],
        VALID,
        [("1 lines of the training list ", "the path of another line", "another label")],
    ),
    (["MODEL.num_classes=9"], TRAIN, VALID, [("classes without a training video: ", "5 of 9: 4, 5, 6, 7, 8")]),
    (["MODEL.num_classes=5"], [*TRAIN, ("x", 4)], VALID, [("classes with one training video: ", "1 of 5: 4")]),
    (
        [],
        TRAIN,
        VALID[:26],
        [("26 validation videos: ", "50%", "32 to 68", "95%")],
    ),
    (
        ["TRAIN.batch_size=256"],
        TRAIN,
        VALID,
        [("TRAIN.batch_size 256 ", "200 videos", "one step an epoch")],
    ),
    (["TRAIN.batch_size=1"], TRAIN, VALID, [SINGLE]),
    (["TRAIN.batch_size=1", "TRAIN.freeze_batch_norm=True"], TRAIN, VALID, []),
    (["TRAIN.batch_size=1", "TRAIN.freeze_stages=5"], TRAIN, VALID, []),
    (
        ["MODEL.name=tsm", "TRAIN.seg_num=1"],
        TRAIN,
        VALID,
        [("TRAIN.seg_num is 1: ", "tsm", "no motion")],
    ),
    (["TRAIN.seg_num=1"], TRAIN, VALID, []),
    (
        ["TRAIN.milestones=[1, 2, 40]"],
        TRAIN,
        VALID,
        [("TRAIN.milestones 2, 40: ", "2 epochs", "no rate falls there")],
    ),
    (["TRAIN.patience=2"], TRAIN, VALID, []),
    (["TRAIN.patience=2"], TRAIN, [], [("TRAIN.patience: ", "nothing is validated", "all epochs")]),
    (["TRAIN.balance_classes=True"], TRAIN, VALID, []),
    (
        ["TRAIN.balance_classes=True"],
        [*TRAIN[:150], *((f"{path}{i}", 0) for i in range(26) for path in ("c", "d"))],
        VALID,
        [],
    ),
    (
        ["TRAIN.balance_classes=True", "MODEL.num_classes=5"],
        [*TRAIN, ("a", 4), ("b", 4), ("c", 4)],
        VALID,
        [("TRAIN.balance_classes ", "class 4, which has 3", "14 times an epoch")],
    ),
    (["TRAIN.warmup_epochs=2"], TRAIN, VALID, [(*WARM, "9.75e-05", "not to 0.01")]),
    (
        ["TRAIN.schedule=cosine", "TRAIN.warmup_epochs=2"],
        TRAIN,
        VALID,
        [(*WARM, "to 0,", "not to 0.01", "nothing is learned")],
    ),
]


@pytest.mark.parametrize(("sets", "train", "valid", "lines"), CASES)
def test_what_is_said(sets, train, valid, lines):
    for line, pieces in zip(said(sets, train, valid), lines, strict=True):
        says(line, *pieces)


def test_a_video_for_each_device_is_one_a_batch():
    [line] = said(["TRAIN.batch_size=2"], TRAIN, VALID, devices=2)
    says(line, *SINGLE)
    assert said(["TRAIN.batch_size=2", "TRAIN.sync_batch_norm=True"], TRAIN, VALID, devices=2) == []


@pytest.mark.parametrize(("loss", "classes", "high"), [(2.9e17, 4, True), (3.0, 4, True), (1.5, 4, False),
                                                      (6.5, 400, False), (13.0, 400, True)])  # fmt: skip
def test_a_loss_far_above_chance_names_the_learning_rate(loss, classes, high):
    line = too_high(loss, math.log(classes), 5.0)
    assert ("learning rate of 5 " in line and "too high" in line) == high


def test_a_validation_list_that_cannot_be_read_ends_a_run_before_its_first_step(workspace, tmp_path):
    """A second run warns of more segments than frames before its first step, and of a grown loss after its epoch."""
    gone = write_list(tmp_path / "gone.list", [(tmp_path / f"{i}.mp4", 0) for i in range(6)])
    training = NarrowTraining(workspace, tmp_path, "--set", f"VALID.filelist={gone}").ends(2)
    [line] = training.errors
    advice = list_advice("0.mp4", "no such file")
    says(line, f"error: {gone}: ", "none of its 6 videos", f"{tmp_path / '0.mp4'}: no such file", advice)
    assert "Epoch 0" not in training.output and not list(training.save_dir.glob("*.pdparams"))
    first = workspace.held_out[0][0]
    mixed = write_list(tmp_path / "mixed.list", [*((tmp_path / f"{i}.mp4", 0) for i in range(6)), (first, 2)])
    sets = ("--set", f"VALID.filelist={mixed}", "--set", "VALID.seg_num=40", "--set", "TRAIN.learning_rate=200")
    training = NarrowTraining(workspace, tmp_path, *sets, "--epoch=1").ends(0)
    [few] = [line for line in training.output.splitlines() if "40 segments" in line]
    says(few, f"{first}: ", "22 different frames")
    [high] = [line for line in training.output.splitlines() if "learning rate of 200" in line]
    says(high, "epoch 0: ", "1.386", "learning rate of 200 ", "too high", "a tenth")

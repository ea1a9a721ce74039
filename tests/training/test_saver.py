"""The checkpoints that a run keeps, in a folder that may also hold another run's."""

from dataclasses import replace
from pathlib import Path

import pytest

from training.checkpoint import Progress, read_manifest, save_checkpoint
from training.saver import Saver


@pytest.fixture
def saver(tmp_path, about):
    return lambda keep=0: Saver(tmp_path, "TSN", about, steps_per_epoch=3, keep=keep)


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.pdparams"))


def test_the_newest_epochs_and_another_runs_checkpoints_stay(saver, saved, small, tmp_path, capsys):
    for epoch in range(2):
        saved(f"TSN_epoch{epoch}", epoch + 1, 0)
    for name, epoch, step in (("TSN_epoch1_step2", 1, 2), ("TSN_epoch2_step1", 2, 1), ("TSN_epoch5", 6, 0),
                              ("TSN_epoch3_step1", 3, 1), ("TSN_best", 1, 0)):  # fmt: skip
        saved(name, epoch, step)
    (tmp_path / "TSN_epoch1_step2.json").unlink()  # a torn one
    saver = saver(keep=2)
    saver.begin(read_manifest(tmp_path / "TSN_epoch1"))
    saver.save(*small, Progress(2, 2, 5, 10, 4))
    assert names(tmp_path) == [
        "TSN_best",
        "TSN_epoch0",
        "TSN_epoch1",
        "TSN_epoch2_step2",
        "TSN_epoch3_step1",
        "TSN_epoch5",
    ]
    saver.save(*small, Progress(2, 3, 5, 10, 4))
    assert names(tmp_path) == ["TSN_best", "TSN_epoch1", "TSN_epoch2", "TSN_epoch3_step1", "TSN_epoch5"]
    assert capsys.readouterr().out == ""


def test_a_new_run_says_what_it_overwrites(saver, saved, tmp_path, capsys):
    saved("TSN_epoch0", 1, 0), saved("TSN", 1, 0)
    (tmp_path / ".TSN.json.1.tmp").touch()
    assert saver().begin(None) is None
    out = capsys.readouterr().out
    assert out.startswith(f"{tmp_path} holds checkpoints of an earlier run (TSN, TSN_epoch0)")
    assert "overwrites them" in out and "--resume=auto" in out and out.count("\n") == 1
    assert names(tmp_path) == ["TSN", "TSN_epoch0"] and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(("name", "stands", "becomes"), [
    ("other", (2, 0), "TSN_epoch1"), ("other", (2, 1), "TSN_epoch2_step1"), ("other", (2, 3), "TSN_epoch2"),
    ("TSN_epoch1", (2, 0), "TSN_epoch1"), ("TSN", (2, 0), "TSN_epoch1"),
])  # fmt: skip
def test_the_resumed_checkpoint_becomes_the_newest(saver, saved, tmp_path, name, stands, becomes):
    resumed = read_manifest(saved(name, *stands))
    saved("TSN_epoch8", 9, 0)
    assert saver().begin(resumed) == resumed.progress
    found = max((read_manifest(tmp_path / name) for name in names(tmp_path)), key=lambda c: c.order)
    assert (found.prefix.name, found.progress) == (becomes, resumed.progress)


def test_the_best_epoch_comes_along_or_is_forgotten(saver, about, small, tmp_path, capsys):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    progress = Progress(4, 0, 5, 10, 4, best_top1=50.0, best_epoch=1)
    resumed = save_checkpoint(elsewhere / "TSN_epoch3", *small, progress, about)
    then = replace(progress, epoch=2)
    save_checkpoint(elsewhere / "TSN_epoch1", *small, then, about)
    save_checkpoint(tmp_path / "TSN_best", *small, replace(then, seed=6), about)  # another run's
    assert saver().begin(resumed) == progress
    assert (tmp_path / "TSN_best.pdparams").samefile(elsewhere / "TSN_epoch1.pdparams")
    (elsewhere / "TSN_epoch1.json").unlink()
    (tmp_path / "TSN_best.json").unlink()
    assert saver().begin(resumed) == replace(progress, best_top1=-1.0, best_epoch=-1)
    assert "the weights of epoch 1, the best one so far, are missing: TSN_best starts again" in capsys.readouterr().out

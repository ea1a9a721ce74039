"""A full disk, a removed folder, a loss that is not finite: one line, exit code 1, and the checkpoint before stays."""

import resource
import subprocess

import numpy as np
import pytest

from conftest import says
from fault_tools import copy_run, narrow_at, steps, train_narrow
from models.weights.reading import read_weights
from training.checkpoint import check_files, read_manifest

OFTEN = ("--epoch=3", "--set", "TRAIN.checkpoint_minutes=0.00001", "--resume=auto")


@pytest.fixture
def small_disk(tmp_path):
    """Provide a folder on its own file system, with room for a checkpoint (1.4 MB) and half of the next."""
    folder = tmp_path / "save"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2400k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a tmpfs; test_a_file_that_may_not_grow needs no root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_with_the_checkpoint_before_intact(workspace, tmp_path, small_disk, undisturbed):
    flags = ("--epoch=3", "--resume=auto", "--set", "TRAIN.keep_checkpoints=1")
    training = train_narrow(workspace, tmp_path, *flags, code=1)
    [complaint] = training.errors
    says(complaint, f"error: {small_disk}/TSN_epoch1.pdopt: ", "No space left on device")
    assert training.output.endswith(complaint + "\n")
    check_files(read_manifest(small_disk / "TSN_epoch0"))
    assert not list(small_disk.glob(".*")) and not list(small_disk.glob("TSN_epoch1.*"))
    subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    train_narrow(workspace, tmp_path, *flags)
    assert (small_disk / "TSN.pdparams").read_bytes() == (undisturbed / "TSN.pdparams").read_bytes()
    assert steps(small_disk) == steps(undisturbed)
    # keep_checkpoints keeps the end, the best, and one epoch, here the last.
    assert {path.stem for path in small_disk.glob("*.pdparams")} == {"TSN", "TSN_best", "TSN_epoch2"}
    assert (small_disk / "TSN_best.pdparams").read_bytes() == (undisturbed / "TSN_best.pdparams").read_bytes()


def test_a_file_that_may_not_grow(workspace, tmp_path, undisturbed):
    save_dir = copy_run(undisturbed, tmp_path / "save")
    for name in ("TSN", "TSN_best", "TSN_epoch2"):
        (save_dir / f"{name}.json").unlink()
    training = narrow_at(workspace, tmp_path, "Epoch 2, iter 0", *OFTEN, PYTHONDONTWRITEBYTECODE="1")
    limit = 300_000  # bytes: less than the weights
    resource.prlimit(training.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    training.release().ends(1)
    [complaint] = training.errors
    says(complaint, f"error: {save_dir}/TSN_epoch2_step1.pdparams: ", "File too large")
    check_files(read_manifest(save_dir / "TSN_epoch1"))
    assert not list(save_dir.glob(".*"))


def test_a_save_dir_that_goes_away_is_named(workspace, tmp_path):
    flags = ("--epoch=1000", "--set", "TRAIN.keep_checkpoints=1")
    training = narrow_at(workspace, tmp_path, "Epoch 0, iter 1", *flags)
    training.save_dir.rename(tmp_path / "moved")
    training.release().ends(1)
    assert not training.save_dir.exists()
    [complaint] = training.errors
    says(complaint, f"error: {training.save_dir}/TSN_", "No such file or directory")
    assert "Traceback" not in training.output and training.output.endswith(complaint + "\n")


@pytest.mark.parametrize(("minutes", "complaint", "num_videos", "saved"), [
    # No log line reads the loss before the epoch ends; its last step has two videos.
    (0, ("the loss is nan ", "epoch 0, iter 2; "), 2, []),
    # The loss is finite, but its gradients are not.
    (0.00001, ("weights are not finite ", "epoch 0, iter 1; "), 4, ["TSN_epoch0_step1"]),
])  # fmt: skip
def test_a_checkpoint_has_only_finite_weights(workspace, tmp_path, minutes, complaint, num_videos, saved):
    flags = ("--learning_rate=1e30", "--log_interval=1000", "--set", f"TRAIN.checkpoint_minutes={minutes}")
    training = train_narrow(workspace, tmp_path, *flags, code=1)
    [line] = training.errors
    says(line, "error: ", *complaint, "the last checkpoint", "videos of the step: ")
    _, _, videos = line.partition("videos of the step: ")
    assert len(videos.split(", ")) == num_videos and set(videos.split(", ")) <= {
        str(path) for path, _ in workspace.videos
    }
    assert [path.stem for path in training.save_dir.glob("*.pdparams")] == saved
    for name in saved:
        check_files(read_manifest(training.save_dir / name))
        weights = read_weights(training.save_dir / f"{name}.pdparams")
        assert all(np.isfinite(array).all() for array in weights.values())

"""A stopped run that is resumed ends with the weights and the log of one that was never stopped, to the bit."""

import re
import signal
import time
from pathlib import Path

import numpy as np

from conftest import write_list
from fault_tools import NarrowTraining, Training, copy_run, manifest, narrow_at, steps, train_narrow, wait_for

OFTEN = ("--epoch=3", "--set", "TRAIN.checkpoint_minutes=0.00001", "--resume=auto")


def assert_same_end(save_dir, undisturbed):
    for name in ("TSN.pdparams", "TSN.pdopt", "TSN_best.pdparams"):
        assert (save_dir / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert steps(save_dir) == steps(undisturbed)
    assert not list(save_dir.glob(".*.tmp"))
    for name in ("TSN", "TSN_best", "TSN_epoch2"):
        ours, theirs = (manifest(folder, name)["progress"] for folder in (save_dir, undisturbed))
        assert ours == theirs, name


def test_an_undisturbed_run_logs_every_step_and_keeps_what_it_says(undisturbed):
    lines = [(mode, epoch, step) for mode, epoch, step, *_ in steps(undisturbed)]
    expected = [[("train", epoch, step) for step in range(3)] + [("valid", epoch, 2)] for epoch in range(3)]
    assert lines == sum(expected, [])
    names = {path.name for path in undisturbed.iterdir()}
    checkpoints = ["TSN", "TSN_best", *(f"TSN_epoch{epoch}" for epoch in range(3))]
    expected = {name + suffix for name in checkpoints for suffix in (".pdparams", ".pdopt", ".json")}
    assert names == expected | {"config.yaml", "train_log.jsonl", "report.html"}
    # The best epoch is the first with the highest top-1, and TSN_best has its weights.
    top1 = [line[-1] for line in steps(undisturbed) if line[0] == "valid"]
    best = int(np.argmax(top1))
    assert manifest(undisturbed, "TSN_best")["progress"]["best_epoch"] == best
    assert (undisturbed / "TSN_best.pdparams").samefile(undisturbed / f"TSN_epoch{best}.pdparams")
    assert (undisturbed / "TSN.pdparams").samefile(undisturbed / "TSN_epoch2.pdparams")


def test_sigterm_and_ctrl_c_save_the_step_in_hand(workspace, tmp_path, undisturbed):
    save_dir, flags = tmp_path / "save", ("--epoch=3", "--resume=auto")

    def stop(number: int, code: int, group: bool) -> Training:
        start = time.monotonic()
        training.signal(number, group).release().ends(code)
        assert time.monotonic() - start < 30
        return training

    training = narrow_at(workspace, tmp_path, "Epoch 0, iter 0", *flags)
    assert stop(signal.SIGTERM, 143, group=False).output.endswith("terminated\n")
    done = steps(save_dir)
    assert done and manifest(save_dir, f"TSN_epoch0_step{len(done)}")["progress"]["step"] == len(done)
    # A terminal's Ctrl-C, and a scheduler's SIGTERM, reach the readers as well.
    training = narrow_at(workspace, tmp_path, "Epoch 1, iter 0", *flags)
    assert stop(signal.SIGINT, 130, group=True).output.endswith("interrupted\n")
    training = narrow_at(workspace, tmp_path, "Epoch 1, iter 2", *flags)  # the last step: next is the validation
    stop(signal.SIGTERM, 143, group=True)
    train_narrow(workspace, tmp_path, *flags)
    assert_same_end(save_dir, undisturbed)


def test_a_signal_during_the_start_ends_it_with_nothing_written(workspace, tmp_path):
    training = Training(workspace, tmp_path)
    status = Path(f"/proc/{training.process.pid}/status")
    # As soon as the script handles the signal, long before it imports paddle.
    wait_for(
        lambda: int(re.search(r"SigCgt:\s*(\w+)", status.read_text())[1], 16) >> (signal.SIGTERM - 1) & 1, "a handler"
    )
    training.signal(signal.SIGTERM).ends(143)
    assert training.output == "terminated\n"
    # After the import of paddle, which installs its own handler.
    training = Training(workspace, tmp_path).says("weights: random").signal(signal.SIGTERM).ends(143)
    assert training.output.endswith("terminated\n")
    assert not list(training.save_dir.glob("TSN*"))


def test_a_second_ctrl_c_stops_at_once(workspace, tmp_path):
    flags = ("--epoch=100", "--set", "TRAIN.buf_size=1")
    training = NarrowTraining(workspace, tmp_path, *flags).says("data: 10 videos").stop_reader().is_idle()
    training.signal(signal.SIGINT).says("stopping after this step and saving it; Ctrl-C again stops at once, without")
    assert training.is_idle().process.poll() is None  # the step waits for its videos
    training.signal(signal.SIGINT).ends(130, seconds=45)
    assert training.output.endswith("interrupted\n") and "Traceback" not in training.output
    assert {path.name for path in training.save_dir.iterdir()} == {"config.yaml", "train_log.jsonl"}


def test_a_stuck_video_is_given_up_and_named(workspace, tmp_path):
    flags = ("--valid_interval=0", "--set", "TRAIN.video_timeout=3", "--set", "TRAIN.max_unreadable=0.2")
    training = narrow_at(workspace, tmp_path, "Epoch 0, iter 1", *flags, "--epoch=3").stop_reader().release().ends(0)
    given_up = r"unreadable, replaced by the next video of the list: .*clip \d+\.mp4: given up after 3 s\n"
    assert len(re.findall(given_up, training.output)) == 1
    assert len(steps(training.save_dir)) == 9


def test_resume_of_a_finished_run_says_so(workspace, tmp_path, undisturbed):
    save_dir = copy_run(undisturbed, tmp_path / "save")
    training = train_narrow(workspace, tmp_path, *OFTEN)
    assert "all 3 epochs are done already; for more, set a larger TRAIN.epoch" in training.output
    assert_same_end(save_dir, undisturbed)


def test_other_lists_are_told_from_those_a_run_was_trained_on(workspace, tmp_path, undisturbed):
    save_dir = copy_run(undisturbed, tmp_path / "save")
    videos = [(path, (label + (number == 3)) % 4) for number, (path, label) in enumerate(workspace.videos)]
    other = write_list(tmp_path / "other.list", videos)
    valid = write_list(tmp_path / "valid.list", workspace.held_out[:3])
    sets = ("--set", f"TRAIN.filelist={other}", "--set", f"VALID.filelist={valid}")
    # A run without validation keeps the digest of the list that chose the best epoch.
    train_narrow(workspace, tmp_path, *OFTEN, "--valid_interval=0")
    training = train_narrow(workspace, tmp_path, *OFTEN, *sets)
    assert len(re.findall("the digest of the training list was [0-9a-f]{8}, continues with ", training.output)) == 1
    assert "was chosen on the other list: the choice starts again" in training.output
    assert f"removed {save_dir / 'TSN_best'}: it was the best on another validation list" in training.output
    assert not list(save_dir.glob("TSN_best*")) and manifest(save_dir, "TSN")["progress"]["best_epoch"] == -1
    assert "the digest of" not in train_narrow(workspace, tmp_path, *OFTEN, *sets, "--epoch=4").output
    assert manifest(save_dir, "TSN_best")["progress"]["best_epoch"] == 3


def test_torn_checkpoints_are_named_and_passed_over(workspace, tmp_path, undisturbed):
    save_dir = copy_run(undisturbed, tmp_path / "save")
    for name in ("TSN", "TSN_best", "TSN_epoch2"):
        whole = (save_dir / f"{name}.pdparams").read_bytes()
        (save_dir / f"{name}.pdparams").unlink()
        (save_dir / f"{name}.pdparams").write_bytes(whole[: len(whole) // 2])
    (save_dir / "TSN_epoch1.pdopt").unlink()
    (save_dir / ".TSN_epoch2.pdparams.12345.tmp").write_bytes(b"half")
    training = train_narrow(workspace, tmp_path, *OFTEN)
    for torn in ("TSN: torn checkpoint: TSN.pdparams is not the file its manifest describes",
                 "TSN_best: torn checkpoint: TSN_best.pdparams is not the file its manifest describes",
                 "TSN_epoch2: torn checkpoint: TSN_epoch2.pdparams is not the file its manifest describes",
                 "TSN_epoch1: torn checkpoint: TSN_epoch1.pdopt is missing"):  # fmt: skip
        assert f"--resume=auto: passed over {save_dir}/{torn}\n" in training.output
    assert_same_end(save_dir, undisturbed)

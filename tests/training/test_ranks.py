"""Several processes train as one: the result does not depend on their number, and none outlives the others."""

import re
import signal

import pytest

from conftest import free_port, write_list
from documentation import commands, read_page
from fault_tools import NarrowTraining, difference, manifest, narrow_at, steps, train_narrow

# A frozen BatchNorm, because a process normalises with its part of the batch.
FROZEN = ("--epoch=2", "--learning_rate=0.0001", "--set", "TRAIN.freeze_batch_norm=True")
OFTEN = ("--resume=auto", "--set", "TRAIN.checkpoint_minutes=0.00001")


@pytest.fixture(scope="module")
def videos(workspace, tmp_path_factory) -> str:
    """Provide the flag for a list of 11 videos: batches of 6 and 5."""
    videos = [*workspace.videos, workspace.held_out[0]]
    return f"TRAIN.filelist={write_list(tmp_path_factory.mktemp('lists') / '11.list', videos)}"


@pytest.fixture(scope="module")
def alone(workspace, tmp_path_factory, videos):
    """Provide the save_dir of one process on 11 videos."""
    folder = tmp_path_factory.mktemp("alone")
    return train_narrow(workspace, folder, *FROZEN, "--batch_size=6", "--set", videos).save_dir


def assert_equal_to_rounding(one, other):
    assert difference(one / "TSN.pdparams", other / "TSN.pdparams") < 1e-6
    ours, theirs = steps(one), steps(other)
    assert [line[:3] for line in ours] == [line[:3] for line in theirs]
    assert [line[4] for line in ours] == [line[4] for line in theirs]  # accuracies: to the last digit
    assert [line[3] for line in ours] == pytest.approx([line[3] for line in theirs], rel=1e-4)
    assert manifest(one)["progress"]["best_top1"] == manifest(other)["progress"]["best_top1"]


def test_the_result_does_not_depend_on_the_number_of_processes(workspace, tmp_path):
    """Three processes: one meets an unreadable video, and two have nothing to do in the epoch's last step."""
    (tmp_path / "garbage.mp4").write_bytes(b"\0" * 1000)
    videos = [*workspace.videos, *workspace.held_out[:2], (tmp_path / "garbage.mp4", 0)]
    path = write_list(tmp_path / "x.list", videos)
    flags = (*FROZEN, "--epoch=1", "--batch_size=6", "--set", f"TRAIN.filelist={path}")
    one, three = (train_narrow(workspace, tmp_path / str(n), *flags, f"--nproc={n}") for n in (1, 3))
    assert re.search(r" epochs? of 3 steps, seed 1000, 3 processes$", three.output, re.MULTILINE)
    named = f"unreadable, replaced by the next video of the list: {tmp_path / 'garbage.mp4'}: "
    assert one.output.count(named) == three.output.count(named) == 1
    assert len(steps(three.save_dir)) == 4
    assert_equal_to_rounding(one.save_dir, three.save_dir)


def test_accumulated_batches_are_one_large_one(workspace, tmp_path, videos, alone):
    flags = ("--batch_size=3", "--set", "TRAIN.accumulate_steps=2", "--set", videos)
    # A learning rate for steps of 12 videos is halved for steps of 6.
    flags += ("--learning_rate=0.0002", "--set", "TRAIN.learning_rate_batch=12")
    training = train_narrow(workspace, tmp_path, *FROZEN, *flags)
    assert "learning rate 0.0002 for 12 videos a step, scaled to 0.0001 for 6\n" in training.output
    assert_equal_to_rounding(training.save_dir, alone)


def test_a_killed_rank_ends_the_run_and_any_number_of_processes_goes_on(workspace, tmp_path, videos, alone):
    flags = (*FROZEN, *OFTEN, "--batch_size=6", "--set", videos)
    # One process is asked to stop.
    narrow_at(workspace, tmp_path, "Epoch 0, iter 0", *flags).signal(signal.SIGTERM).release().ends(143)
    # Two go on, and one of them is killed.
    training = narrow_at(workspace, tmp_path, "Epoch 1, iter 0", *flags, "--nproc=2")
    assert "resumed from" in training.output
    training.signal(signal.SIGKILL, rank=1).release().ends(1, seconds=30)
    assert len(training.errors) == 1 and "Traceback" not in training.output
    assert re.fullmatch(
        r"error: rank 1 of 2 was killed by signal 9 \(SIGKILL\); all ranks were ended; its last lines: .+",
        training.errors[0],
    )
    # One ends it.
    train_narrow(workspace, tmp_path, *flags)
    assert_equal_to_rounding(tmp_path / "save", alone)


def test_a_killed_launcher_leaves_nothing_behind(workspace, tmp_path):
    training = NarrowTraining(workspace, tmp_path, "--epoch=1000", "--set", "TRAIN.keep_checkpoints=1", "--nproc=2")
    training.says("Epoch 0, iter 0").signal(signal.SIGKILL).ends(-signal.SIGKILL)


def test_a_second_ctrl_c_ends_all_ranks_at_once(workspace, tmp_path):
    flags = ("--nproc=2", "--epoch=100", "--set", "TRAIN.buf_size=1")
    training = NarrowTraining(workspace, tmp_path, *flags).says("data: 10 videos").stop_reader().is_idle()
    training.signal(signal.SIGINT).says("stopping after this step").is_idle()
    assert training.process.poll() is None  # a rank waits for its videos, and the other one for that rank
    training.signal(signal.SIGINT).ends(130, seconds=45)


def test_a_mistake_is_named_once_and_not_by_every_rank(workspace, tmp_path):
    (tmp_path / "bad.pdparams").write_bytes(b"garbage")
    training = train_narrow(workspace, tmp_path, f"--pretrain={tmp_path / 'bad.pdparams'}", "--nproc=2", code=2)
    assert len(training.errors) == 1 and training.errors[0].startswith(f"error: {tmp_path}/bad.pdparams: ")
    assert "Traceback" not in training.output and not training.save_dir.exists()


def test_paddles_launcher_on_two_machines(workspace, tmp_path, videos, alone):
    """Two launchers on this machine, by the commands of docs/devices.md. Only the first one writes its save_dir."""
    port = free_port()
    machines = []
    for rank, line in enumerate(line for line in commands(read_page("docs/devices.md")) if "launch" in line):
        python, *words = line.replace("10.0.0.1:49178", f"127.0.0.1:{port}").split()
        assert python == "python" and f"--rank={rank}" in words
        here = ("--nproc_per_node=1", f"--log_dir={tmp_path / str(rank) / 'logs'}")
        flags = (*FROZEN, "--batch_size=6", "--set", videos)
        prefix = (*words[: words.index("train.py")], *here)
        machines.append(NarrowTraining(workspace, tmp_path / str(rank), *flags, prefix=prefix))
    assert len(machines) == 2
    for machine in machines:
        machine.ends(0)
    assert_equal_to_rounding(machines[0].save_dir, alone)
    assert not machines[1].save_dir.exists()

"""Reader processes that die, hang or fail, and loaders that are left: every video is read or named, none stays."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from conftest import children, frame_pickle, wait_until
from make_fixtures import FIXTURES
from reader.dataset import ClipSpec
from reader.filelist import Entry
from reader.loader import Loader
from reader.workers import WorkerProcess
from utils.errors import InputError, RunError

VIDEO = Entry(str(FIXTURES / "h264.mp4"), 0)
PKL = ClipSpec(2, 1, 36, 32, frame_format="pkl")

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks processes up in /proc")


def loader(entries: list[Entry], spec: ClipSpec = PKL, batch_size: int = 4, num_workers: int = 1, **how) -> Loader:
    return Loader(entries, spec, batch_size, num_classes=4, num_workers=num_workers, **how)


def readers() -> set[int]:
    """Return the ids of the living reader processes that this process has started; Linux only."""
    return {pid for pid in children("self") if is_reader(pid)}


def is_reader(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()  # empty once it is dead
    except FileNotFoundError:
        return False


def fifos(tmp_path, count: int) -> list[Entry]:
    """Return videos that are pipes: reading one waits until somebody writes a pickle to it."""
    for i in range(count):
        os.mkfifo(tmp_path / f"{i}.pkl")
    return [Entry(str(tmp_path / f"{i}.pkl")) for i in range(count)]


def feed(entry: Entry, label: int) -> threading.Thread:
    """Write a pickle to the next reader of the pipe."""

    def write():
        with open(entry.path, "wb") as file:
            file.write(frame_pickle(label))

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def kill_reader_of(entry: Entry) -> None:
    """Kill the one reader process once it has opened the pipe, and return when it is gone."""

    def opened() -> int | None:
        try:
            return os.open(entry.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it yet
            return None

    pipe = wait_until(opened)
    (victim,) = readers()
    os.kill(victim, signal.SIGKILL)
    os.close(pipe)
    # While it dies it could still take the bytes that are meant for the next one.
    wait_until(lambda: not Path(f"/proc/{victim}").exists())


@linux
def test_a_killed_process_is_replaced_and_a_video_that_kills_two_is_unreadable(tmp_path):
    entries = fifos(tmp_path, 4)
    with loader(entries) as reader:
        result = []
        consumer = threading.Thread(target=lambda: result.extend(reader.batches()))
        consumer.start()
        feed(entries[0], 0).join()
        kill_reader_of(entries[1])
        feed(entries[1], 1).join()
        for _ in range(2):
            kill_reader_of(entries[2])
        feed(entries[3], 3).join()
        consumer.join(20)
    assert result[0].labels.tolist() == [0, 1, 3]
    assert result[0].unreadable == [(2, "its reader process ended with signal 9 (Killed), twice")]


@linux
def test_a_stuck_video_is_given_up(tmp_path):
    (tmp_path / "good.pkl").write_bytes(frame_pickle(2))
    entries = [*fifos(tmp_path, 1), Entry(str(tmp_path / "good.pkl"))]
    with loader(entries, time_limit=0.5) as reader:
        (batch,) = reader.batches()
    assert batch.unreadable == [(0, "given up after 0.5 s")]
    assert batch.labels.tolist() == [2]


def test_a_failure_that_is_not_the_videos_fault_arrives_with_its_path():
    with loader([VIDEO], ClipSpec(0, 1, 36, 32)) as reader, pytest.raises(RunError) as error:
        list(reader.batches())
    text = "integer division or modulo by zero"
    assert str(error.value).startswith(f"{VIDEO.path}: ZeroDivisionError: {text} (")
    assert "sampling.py:" in str(error.value) and "\n" not in str(error.value)


def test_a_mistake_in_the_settings_stays_one():
    unknown = pytest.raises(InputError, match="^unknown decoder 'vhs'")
    with loader([VIDEO], ClipSpec(2, 1, 36, 32, decoder="vhs")) as reader, unknown:
        list(reader.batches())


@linux
def test_leaving_in_the_middle_of_a_pass_ends_every_process(tmp_path):
    threads = threading.active_count()
    entries = fifos(tmp_path, 8)
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError), loader(entries, num_workers=2, batch_size=1) as reader:
        batches = reader.batches()
        feeder = feed(entries[0], 1)
        next(batches)
        feeder.join()
        wait_until(lambda: len(readers()) == 2)
        raise ZeroDivisionError
    assert readers() == set() and threading.active_count() == threads
    assert time.monotonic() - start < 10


@linux
def test_leaving_while_processes_start(tmp_path):
    for delay in (0, 0.1, 0.3):
        folder = tmp_path / str(delay)
        folder.mkdir()
        with loader(fifos(folder, 4), num_workers=2) as reader:
            consumer = threading.Thread(target=_swallow, args=(reader.batches(),))
            consumer.start()
            time.sleep(delay)
        consumer.join(10)
        assert not consumer.is_alive() and readers() == set()


def _swallow(batches) -> None:
    with pytest.raises((RunError, RuntimeError)):
        list(batches)


def test_a_closed_process_starts_no_other():
    process = WorkerProcess(PKL)
    process.close()
    with pytest.raises(RunError, match="closed"):
        process.answer("a.mp4", 0, 0)
    assert process.kill() is None and readers() == set()


class EndsTheProcess:
    """A specification that ends the process to which it is sent."""

    def __reduce__(self):
        return os._exit, (7,)


def test_a_process_that_cannot_start_is_no_fault_of_the_video(monkeypatch):
    monkeypatch.setattr("utils.processes.child.STARTS", 2)
    process = WorkerProcess(EndsTheProcess())
    with pytest.raises(RunError, match="^a reader process could not be started: it ended with exit code 7$"):
        process.answer("a.mp4", 0, 0)
    process.close()

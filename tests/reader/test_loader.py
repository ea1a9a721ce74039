"""Batches: order, sizes, memory, unreadable videos; and reader processes that die, hang or fail."""

import os
import random
import signal
import threading
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import children, frame_pickle, wait_until
from reader.dataset import ClipSpec, Seen, VideoError, read_clip
from reader.filelist import Entry
from reader.loader import Loader, timed, worker_count
from reader.workers import FileClip, WorkerProcess
from utils.config.foreign import list_advice
from utils.errors import InputError, RunError

SPEC = ClipSpec(num_segments=2, seglen=1, short_side=36, crop_size=32)
PKL = ClipSpec(num_segments=2, seglen=1, short_side=36, crop_size=32, frame_format="pkl")

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks processes up in /proc")


@pytest.fixture
def entries(workspace):
    return [Entry(str(path), label) for path, label in workspace.videos]


def with_bad(entries: list[Entry], *positions: int) -> list[Entry]:
    return [Entry(f"no {i}.mp4", e.label) if i in positions else e for i, e in enumerate(entries)]


def loader(entries, *, spec=SPEC, batch_size=4, num_workers=2, num_classes=4, **how) -> Loader:
    return Loader(entries, spec, batch_size, num_classes=num_classes, num_workers=num_workers, **how)


@pytest.fixture
def fake_read(monkeypatch):
    """Replace the work of reader processes by a function of (path, epoch, index), called in their threads."""

    def install(function):
        monkeypatch.setattr(WorkerProcess, "answer", lambda self, *asked: FileClip(*function(*asked[:3]), None, False))

    return install


def clip_of(number: int) -> np.ndarray:
    return np.full(SPEC.shape, number, np.uint8)


def readers() -> set[int]:
    """Return the ids of the living reader processes that this process has started; Linux only."""
    return {pid for pid in children("self") if is_reader(pid)}


def is_reader(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()  # empty once it is dead
    except FileNotFoundError:
        return False


# ---- what comes out


def test_batches_are_what_read_clip_gives(entries):
    with loader(entries) as reader:
        batches = list(reader.batches())
    assert [batch.indices for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]  # the last one is smaller
    assert [batch.labels.tolist() for batch in batches] == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1]]
    for batch in batches:
        assert batch.frames.dtype == np.uint8 and batch.labels.dtype == np.int64 and batch.unreadable == []
        for index, clip in zip(batch.indices, batch.frames):
            assert (clip == read_clip(SPEC, entries[index].path)[0]).all()


def test_a_mirrored_clip_counts_for_the_class_that_the_mirror_makes_of_it(entries):
    spec = replace(SPEC, augment_seed=3)
    with loader(entries, spec=spec, mirrors={0: 1, 1: 0}) as reader, loader(entries, spec=spec) as plain:
        pairs = list(zip(reader.batches(), plain.batches(), strict=True))
    exchanged = 0
    for ours, theirs in pairs:
        assert (ours.frames == theirs.frames).all()
        for index, ours_label, label in zip(ours.indices, ours.labels, theirs.labels):
            seen = Seen()
            read_clip(spec, entries[index].path, 0, index, seen=seen)
            assert ours_label == ({0: 1, 1: 0}.get(label, label) if seen.mirrored else label)
            exchanged += ours_label != label
    assert 0 < exchanged < 6


@pytest.mark.parametrize("augment_seed", [None, 7])
def test_the_result_does_not_depend_on_the_number_of_processes(entries, augment_seed):
    spec = ClipSpec(2, 1, 36, 32, augment_seed=augment_seed)
    entries = with_bad(entries, 2, 3, 9)
    order = [9, 3, 1, 4, 0, 2, 6, 5, 8, 7]
    results = []
    for workers in (1, 3):
        with loader(entries, spec=spec, num_workers=workers, batch_size=3, replace=augment_seed is not None) as reader:
            epochs = [list(reader.batches(order, epoch)) for epoch in (0, 1)]
        results.append([[(b.frames.tobytes(), b.labels.tolist(), b.indices, b.unreadable) for b in e] for e in epochs])
    assert results[0] == results[1]
    assert (results[0][0] == results[0][1]) == (augment_seed is None)


def test_order_is_kept_whatever_the_delays(fake_read):
    delays = random.Random(0)

    def read(path, epoch, index):
        time.sleep(delays.random() * 0.02)
        return clip_of(index), None

    fake_read(read)
    order = list(range(50))
    delays.shuffle(order)
    with loader([Entry(str(i), 0) for i in range(50)], num_workers=8, batch_size=7) as reader:
        batches = list(reader.batches(order))
    assert [i for batch in batches for i in batch.indices] == order
    assert [int(clip[0, 0, 0, 0]) for batch in batches for clip in batch.frames] == order
    assert [len(batch.indices) for batch in batches] == [7] * 7 + [1]


@pytest.mark.parametrize(
    "batch_size, workers, buffer_videos, ahead", [(4, 2, 100, 8), (4, 2, 1, 4), (2, 3, 1, 6), (8, 2, 10, 10)]
)
def test_reading_ahead_is_bounded(fake_read, batch_size, workers, buffer_videos, ahead):
    started = []

    def read(path, epoch, index):
        started.append(index)
        return clip_of(0), None

    fake_read(read)
    entries = [Entry(str(i), 0) for i in range(60)]
    with loader(entries, num_workers=workers, batch_size=batch_size, buffer_videos=buffer_videos) as reader:
        batches = reader.batches()
        for taken in (1, 2):
            next(batches)
            bound = taken * batch_size + ahead - 1
            wait_until(lambda: len(started) == bound)
            time.sleep(0.05)
            assert len(started) == bound


def test_a_pass_that_is_left_reads_no_more(fake_read):
    started = []

    def read(path, epoch, index):
        started.append((epoch, index))
        time.sleep(0.02)
        return clip_of(0), None

    fake_read(read)
    with loader([Entry(str(i), 0) for i in range(60)], num_workers=2, batch_size=20) as reader:
        batches = reader.batches(epoch=0)
        next(batches)
        batches.close()
        list(reader.batches(range(4), epoch=1))
    assert len(started) <= 20 + 2 + 4  # the batch, what had begun, the next pass


def test_labels(entries):
    unlabelled = [Entry(e.path) for e in entries]
    with loader(unlabelled, num_workers=1) as reader:
        assert next(reader.batches()).labels.tolist() == [-1] * 4


@pytest.mark.parametrize("num_classes, unreadable", [(4, []), (3, [(1, "its label 3 is outside 0..2")]), (None, [])])
def test_the_label_of_a_pickle(tmp_path, num_classes, unreadable):
    for label in (0, 3):
        (tmp_path / f"{label}.pkl").write_bytes(frame_pickle(label))
    entries = [Entry(str(tmp_path / f"{label}.pkl")) for label in (0, 3)]
    with loader(entries, spec=PKL, num_workers=1, num_classes=num_classes) as reader:
        (batch,) = reader.batches()
    assert batch.unreadable == unreadable
    assert batch.labels.tolist() == ([0] if unreadable else [0, 3])


@pytest.mark.parametrize("num_classes", [4, None])
def test_the_label_of_a_pickle_that_no_array_holds(tmp_path, num_classes):
    for name, label in (("large", 2**70), ("good", 3), ("endless", 10**5000)):
        (tmp_path / f"{name}.pkl").write_bytes(frame_pickle(label))
    entries = [Entry(str(tmp_path / f"{name}.pkl")) for name in ("large", "good", "endless")]
    with loader(entries, spec=PKL, num_workers=1, num_classes=num_classes) as reader:
        (batch,) = reader.batches()
    assert batch.unreadable == [(i, "its label has more than 18 digits") for i in (0, 2)]
    assert batch.labels.tolist() == [3]


def test_time_spent_waiting(fake_read):
    fake_read(lambda path, epoch, index: (time.sleep(0.1), (clip_of(0), None))[1])
    with loader([Entry("a", 0), Entry("b", 0)], num_workers=1, batch_size=1) as reader:
        seconds = [waited for _, waited in timed(reader.batches())]
    assert len(seconds) == 2 and all(0.05 < waited < 5 for waited in seconds)


def test_number_of_processes(monkeypatch):
    monkeypatch.setattr("reader.loader.available_cores", lambda: 8)
    assert [worker_count(12, videos) for videos in (1, 2, 5, 100)] == [1, 2, 5, 8]
    assert [worker_count("auto", videos) for videos in (1, 2, 5, 100)] == [1, 2, 5, 8]
    assert worker_count(3, 100) == 3


@pytest.mark.parametrize(
    "asked, cores, ranks_here, expected",
    [
        ("auto", 96, 8, 12),
        ("auto", 96, 1, 96),
        ("auto", 2, 2, 1),
        ("auto", 7, 3, 2),
        ("auto", 8, 20, 1),
        (12, 96, 8, 12),
        (12, 96, 4, 12),
        (12, 64, 8, 8),
        (4, 64, 8, 4),
        (12, 8, 20, 1),
    ],
)
def test_ranks_share_the_cores_of_their_machine(monkeypatch, asked, cores, ranks_here, expected):
    monkeypatch.setattr("reader.loader.available_cores", lambda: cores)
    assert worker_count(asked, 1000, ranks_here) == expected


# ---- unreadable videos


def test_evaluation_leaves_unreadable_videos_out_and_names_them(entries):
    with loader(with_bad(entries, 0, 5, 8, 9)) as reader:
        for _ in range(2):  # each pass anew
            batches = list(reader.batches())
            assert [b.indices for b in batches] == [[1, 2, 3], [4, 6, 7], []]
            assert [b.labels.tolist() for b in batches] == [[1, 2, 3], [0, 2, 3], []]
            reasons = [[(i, "no such file") for i in positions] for positions in ([0], [5], [8, 9])]
            assert [b.unreadable for b in batches] == reasons
            assert batches[2].frames.shape == (0, *SPEC.shape)


def test_training_takes_the_next_readable_video(entries):
    spec = ClipSpec(2, 1, 36, 32, augment_seed=1)
    bad = with_bad(entries, 2, 3, 9)
    with loader(bad, spec=spec, replace=True) as reader:
        for epoch in range(2):
            batches = list(reader.batches(epoch=epoch))
            assert [b.indices for b in batches] == [[0, 1, 4, 4], [4, 5, 6, 7], [8, 0]]
            assert [b.labels.tolist() for b in batches] == [[0, 1, 0, 0], [0, 1, 2, 3], [0, 0]]
            # each unreadable video once a pass, where it would have come
            assert [[i for i, _ in b.unreadable] for b in batches] == [[2, 3], [], [9]]
            # the randomness of the one it stands for: two replacements by one video are two clips
            expected = [read_clip(spec, entries[4].path, epoch, i)[0] for i in (2, 3, 4)]
            ours = [batches[0].frames[2], batches[0].frames[3], batches[1].frames[0]]
            assert all((a == b).all() for a, b in zip(ours, expected))


def test_a_video_read_again_in_an_epoch_is_another_clip(entries):
    spec = ClipSpec(2, 1, 36, 32, augment_seed=1)
    with loader(with_bad(entries, 3), spec=spec, replace=True) as reader:
        (batch,) = reader.batches([2, 12, 13, 22], epoch=1)
    assert batch.indices == [2, 2, 4, 2] and batch.labels.tolist() == [2, 2, 0, 2]
    assert [i for i, _ in batch.unreadable] == [3]
    expected = [read_clip(spec, entries[i].path, 1, index)[0] for i, index in ((2, 2), (2, 12), (4, 13), (2, 22))]
    assert all((a == b).all() for a, b in zip(batch.frames, expected))
    assert len({clip.tobytes() for clip in batch.frames}) == 4


def test_an_unreadable_video_is_tried_once(fake_read):
    calls = []

    def read(path, epoch, index):
        calls.append(path)
        if path == "1":
            raise VideoError(path, "broken")
        return clip_of(index), None

    fake_read(read)
    with loader([Entry(str(i), 0) for i in range(4)], num_workers=1, replace=True) as reader:
        for epoch in range(3):
            list(reader.batches(epoch=epoch))
    assert calls.count("1") == 1 and calls.count("2") == 6


def test_a_pass_without_replacement_tries_every_video_anew_and_keeps_nothing(fake_read):
    tried = []

    def read(path, epoch, index):
        tried.append(path)
        raise VideoError(path, f"broken {path}" + "x" * 1000)

    fake_read(read)
    number = 2000
    with loader([Entry(str(i), 0) for i in range(number)], num_workers=1) as reader:
        tracemalloc.start()
        try:
            for _ in range(2):
                assert [i for batch in reader.batches() for i, _ in batch.unreadable] == list(range(number))
            kept = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert tried == 2 * [str(i) for i in range(number)]
    assert kept < 100 * number  # a reason takes more than 1000 bytes


def test_nothing_to_replace_with(entries):
    bad = with_bad(entries, *range(10))
    with loader(bad, replace=True) as reader, pytest.raises(InputError) as error:
        list(reader.batches([4, 5]))
    advice = list_advice("no 4.mp4", "no such file")
    assert str(error.value) == f"none of the 10 videos can be read; no 4.mp4: no such file{advice}"


# ---- processes


def fifos(tmp_path, count: int) -> list[Entry]:
    """Return the videos whose reading waits until somebody writes the pickle."""
    for i in range(count):
        os.mkfifo(tmp_path / f"{i}.pkl")
    return [Entry(str(tmp_path / f"{i}.pkl")) for i in range(count)]


def feed(entry: Entry, label: int, times: int = 1) -> threading.Thread:
    """Write the pickle to each of the next readers of the pipe."""

    def write():
        for _ in range(times):
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
    # While it dies it could still take what is meant for the next one.
    wait_until(lambda: not Path(f"/proc/{victim}").exists())


@linux
def test_a_killed_process_is_replaced_and_its_video_read(tmp_path):
    entries = fifos(tmp_path, 3)
    with loader(entries, spec=PKL, num_workers=1, batch_size=3) as reader:
        batches = reader.batches()
        result = []
        consumer = threading.Thread(target=lambda: result.extend(batches))
        consumer.start()
        feed(entries[0], 0).join()
        kill_reader_of(entries[1])
        feed(entries[1], 1).join()
        feed(entries[2], 2).join()
        consumer.join(20)
    assert result[0].labels.tolist() == [0, 1, 2] and result[0].unreadable == []


@linux
def test_a_video_that_kills_its_process_twice_is_unreadable(tmp_path):
    entries = fifos(tmp_path, 3)
    with loader(entries, spec=PKL, num_workers=1, batch_size=3) as reader:
        result = []
        consumer = threading.Thread(target=lambda: result.extend(reader.batches()))
        consumer.start()
        feed(entries[0], 0).join()
        for _ in range(2):
            kill_reader_of(entries[1])
        feed(entries[2], 2).join()
        consumer.join(20)
    assert result[0].labels.tolist() == [0, 2]
    assert result[0].unreadable == [(1, "its reader process ended with signal 9 (Killed), twice")]


@linux
def test_a_stuck_video_is_given_up(tmp_path, workspace):
    (tmp_path / "good.pkl").write_bytes(frame_pickle(2))
    entries = [*fifos(tmp_path, 1), Entry(str(tmp_path / "good.pkl"))]
    with loader(entries, spec=PKL, num_workers=1, time_limit=0.5) as reader:
        (batch,) = reader.batches()
    assert batch.unreadable == [(0, "given up after 0.5 s")]
    assert batch.labels.tolist() == [2]


def test_a_failure_that_is_not_the_videos_fault_arrives_with_its_path(entries):
    impossible = ClipSpec(num_segments=0, seglen=1, short_side=36, crop_size=32)
    with loader(entries, spec=impossible, num_workers=1) as reader, pytest.raises(RunError) as error:
        list(reader.batches())
    text = "integer division or modulo by zero"
    assert str(error.value).startswith(f"{entries[0].path}: ZeroDivisionError: {text} (")
    assert "sampling.py:" in str(error.value) and "\n" not in str(error.value)


def test_a_mistake_in_the_settings_stays_one(entries):
    spec = ClipSpec(2, 1, 36, 32, decoder="vhs")
    unknown = pytest.raises(InputError, match="^unknown decoder 'vhs'")
    with loader(entries, spec=spec, num_workers=1) as reader, unknown:
        list(reader.batches())


@linux
def test_leaving_in_the_middle_of_a_pass_ends_every_process(tmp_path):
    threads = threading.active_count()
    entries = fifos(tmp_path, 8)
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError), loader(entries, spec=PKL, num_workers=3, batch_size=1) as reader:
        batches = reader.batches()
        feeder = feed(entries[0], 1)
        next(batches)
        feeder.join()
        wait_until(lambda: len(readers()) == 3)
        raise ZeroDivisionError
    assert readers() == set() and threading.active_count() == threads
    assert time.monotonic() - start < 10


@linux
def test_leaving_while_processes_start(tmp_path):
    for delay in (0, 0.05, 0.2, 0.4):
        folder = tmp_path / str(delay)
        folder.mkdir()
        with loader(fifos(folder, 4), spec=PKL) as reader:
            consumer = threading.Thread(target=_swallow, args=(reader.batches(),))
            consumer.start()
            time.sleep(delay)
        consumer.join(10)
        assert not consumer.is_alive() and readers() == set()


def _swallow(batches) -> None:
    with pytest.raises((RunError, RuntimeError)):
        list(batches)


def test_a_closed_process_starts_no_other():
    process = WorkerProcess(SPEC)
    process.close()
    with pytest.raises(RunError, match="closed"):
        process.answer("a.mp4", 0, 0)
    assert process.kill() is None and readers() == set()


class EndsTheProcess:
    """A specification that ends the process it is sent to."""

    def __reduce__(self):
        return os._exit, (7,)


def test_a_process_that_cannot_start_is_no_fault_of_the_video():
    process = WorkerProcess(EndsTheProcess())
    with pytest.raises(RunError, match="^a reader process could not be started: it ended with exit code 7$"):
        process.answer("a.mp4", 0, 0)
    process.close()

"""Batches: their order, sizes, labels and memory, and unreadable videos."""

import random
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import frame_pickle, says, wait_until
from reader.dataset import ClipSpec, VideoError, VideoFacts, read_clip
from reader.filelist import Entry
from reader.loader import Loader, timed, worker_count
from reader.workers import FileClip, WorkerPool, WorkerProcess
from utils.config.foreign import list_advice
from utils.errors import InputError
from utils.processes.parallel import end_all

SPEC = ClipSpec(2, 1, 36, 32)
PKL = replace(SPEC, frame_format="pkl")
AUGMENTED = replace(SPEC, augment_seed=1)


@pytest.fixture
def entries(workspace):
    return [Entry(str(path), label) for path, label in workspace.videos]


def with_bad(entries: list[Entry], *positions: int) -> list[Entry]:
    return [Entry(f"no {i}.mp4", e.label) if i in positions else e for i, e in enumerate(entries)]


@pytest.fixture(scope="module")
def pools():
    """Provide the reader processes of this file by specification and number: each takes half a second to start."""
    made: dict[tuple[ClipSpec, int], WorkerPool] = {}
    yield made
    for pool in made.values():
        end_all(pool._processes)


@pytest.fixture(autouse=True)
def shared_processes(pools, monkeypatch):
    """Let loaders of equal specifications use the same reader processes, one after the other."""

    def pool(spec: ClipSpec, number: int, time_limit: float) -> WorkerPool:
        return pools.setdefault((spec, number), WorkerPool(spec, number, time_limit))

    monkeypatch.setattr("reader.loader.WorkerPool", pool)
    monkeypatch.setattr(WorkerPool, "close", lambda self, threads: threads.shutdown(cancel_futures=True))


def loader(entries, *, spec=SPEC, batch_size=4, num_workers=2, num_classes=4, **how) -> Loader:
    return Loader(entries, spec, batch_size, num_classes=num_classes, num_workers=num_workers, **how)


@pytest.fixture
def fake_read(monkeypatch):
    """Replace the work of reader processes by a function of (path, epoch, index), called in their threads."""
    monkeypatch.setattr(WorkerProcess, "start", lambda self: None)

    def install(function):
        monkeypatch.setattr(WorkerProcess, "answer", lambda self, *asked: FileClip(*function(*asked[:3]), None, False))

    return install


def clip_of(number: int) -> np.ndarray:
    return np.full(SPEC.shape, number, np.uint8)


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
    batches = []
    for mirrors in ({0: 1, 1: 0}, None):
        with loader(entries, spec=AUGMENTED, mirrors=mirrors) as reader:
            batches.append(list(reader.batches()))
    exchanged = 0
    for ours, theirs in zip(*batches, strict=True):
        assert (ours.frames == theirs.frames).all()
        for index, ours_label, label in zip(ours.indices, ours.labels, theirs.labels):
            seen = VideoFacts()
            read_clip(AUGMENTED, entries[index].path, 0, index, seen=seen)
            assert ours_label == ({0: 1, 1: 0}.get(label, label) if seen.mirrored else label)
            exchanged += ours_label != label
    assert 0 < exchanged < 6


@pytest.mark.parametrize("spec", [SPEC, AUGMENTED])
def test_the_result_does_not_depend_on_the_number_of_processes(entries, spec):
    entries = with_bad(entries, 2, 3, 9)
    order = [9, 3, 1, 4, 0, 2, 6, 5, 8, 7]
    results = []
    for workers in (1, 2):
        with loader(entries, spec=spec, num_workers=workers, batch_size=3, replace=spec is AUGMENTED) as reader:
            epochs = [list(reader.batches(order, epoch)) for epoch in (0, 1)]
        results.append([[(b.frames.tobytes(), b.labels.tolist(), b.indices, b.unreadable) for b in e] for e in epochs])
    assert results[0] == results[1]
    assert (results[0][0] == results[0][1]) == (spec is SPEC)


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
    assert len(started) <= 20 + 2 + 4  # the batch, reads that had begun, the next pass


def test_labels(entries):
    unlabelled = [Entry(e.path) for e in entries]
    with loader(unlabelled, num_workers=1) as reader:
        assert next(reader.batches()).labels.tolist() == [-1] * 4


@pytest.mark.parametrize("num_classes, outside", [(4, []), (3, [(1, "its label 3 is outside 0..2")]), (None, [])])
def test_the_label_of_a_pickle(tmp_path, num_classes, outside):
    entries = [Entry(str(tmp_path / name)) for name in ("small", "good", "large", "endless")]
    for entry, label in zip(entries, (0, 3, 2**70, 10**5000)):
        Path(entry.path).write_bytes(frame_pickle(label))
    with loader(entries, spec=PKL, num_workers=1, num_classes=num_classes) as reader:
        (batch,) = reader.batches()
    assert batch.unreadable == outside + [(i, "its label has more than 18 digits") for i in (2, 3)]
    assert batch.labels.tolist() == ([0] if outside else [0, 3])


def test_time_spent_waiting(fake_read):
    fake_read(lambda path, epoch, index: (time.sleep(0.1), (clip_of(0), None))[1])
    with loader([Entry("a", 0), Entry("b", 0)], num_workers=1, batch_size=1) as reader:
        seconds = [waited for _, waited in timed(reader.batches())]
    assert len(seconds) == 2 and all(0.05 < waited < 5 for waited in seconds)


@pytest.mark.parametrize(
    "asked, videos, cores, ranks_here, expected",
    [
        *[(asked, videos, 8, 1, min(videos, 8)) for asked in (12, "auto") for videos in (1, 2, 5, 100)],
        (3, 100, 8, 1, 3),
        ("auto", 1000, 96, 8, 12),
        ("auto", 1000, 96, 1, 96),
        ("auto", 1000, 2, 2, 1),
        ("auto", 1000, 7, 3, 2),
        ("auto", 1000, 8, 20, 1),
        (12, 1000, 96, 8, 12),
        (12, 1000, 96, 4, 12),
        (12, 1000, 64, 8, 8),
        (4, 1000, 64, 8, 4),
        (12, 1000, 8, 20, 1),
    ],
)
def test_number_of_processes(monkeypatch, asked, videos, cores, ranks_here, expected):
    monkeypatch.setattr("reader.loader.available_cores", lambda: cores)
    assert worker_count(asked, videos, ranks_here) == expected


# ---- unreadable videos


def test_evaluation_leaves_unreadable_videos_out_and_names_them(entries):
    with loader(with_bad(entries, 0, 5, 8, 9)) as reader:
        for _ in range(2):
            batches = list(reader.batches())
            assert [b.indices for b in batches] == [[1, 2, 3], [4, 6, 7], []]
            assert [b.labels.tolist() for b in batches] == [[1, 2, 3], [0, 2, 3], []]
            reasons = [[(i, "no such file") for i in positions] for positions in ([0], [5], [8, 9])]
            assert [b.unreadable for b in batches] == reasons
            assert batches[2].frames.shape == (0, *SPEC.shape)


def test_training_takes_the_next_readable_video(entries):
    bad = with_bad(entries, 2, 3, 9)
    with loader(bad, spec=AUGMENTED, replace=True) as reader:
        for epoch in range(2):
            batches = list(reader.batches(epoch=epoch))
            assert [b.indices for b in batches] == [[0, 1, 4, 4], [4, 5, 6, 7], [8, 0]]
            assert [b.labels.tolist() for b in batches] == [[0, 1, 0, 0], [0, 1, 2, 3], [0, 0]]
            # each pass names an unreadable video once, at its place
            assert [[i for i, _ in b.unreadable] for b in batches] == [[2, 3], [], [9]]
            # a replacement has the randomness of the replaced video: two by the same video are two clips
            expected = [read_clip(AUGMENTED, entries[4].path, epoch, i)[0] for i in (2, 3, 4)]
            ours = [batches[0].frames[2], batches[0].frames[3], batches[1].frames[0]]
            assert all((a == b).all() for a, b in zip(ours, expected))


def test_a_video_read_again_in_an_epoch_is_another_clip(entries):
    with loader(with_bad(entries, 3), spec=AUGMENTED, replace=True) as reader:
        (batch,) = reader.batches([2, 12, 13, 22], epoch=1)
    assert batch.indices == [2, 2, 4, 2] and batch.labels.tolist() == [2, 2, 0, 2]
    assert [i for i, _ in batch.unreadable] == [3]
    expected = [read_clip(AUGMENTED, entries[i].path, 1, index)[0] for i, index in ((2, 2), (2, 12), (4, 13), (2, 22))]
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
    says(error.value, "none of the 10 videos ", "no 4.mp4: no such file", advice)

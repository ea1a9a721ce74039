"""Kept features: the records of a damaged, outdated or merged file, and the batches made from them."""

from pathlib import Path

import numpy as np
import pytest

from conftest import largest_file, says
from reader.loader import Batch
from training.features import (
    NO_FILE,
    FeatureLoader,
    append_records,
    missing_jobs,
    open_records,
    put_records,
    record_type,
    records_of,
    take_in,
)  # fmt: skip
from utils.errors import RunError

DTYPE = record_type((4,))
SIZE = DTYPE.itemsize
FILES = np.array([[100 + i, 7] for i in range(10)])


def records(*jobs: int, videos: int = 10) -> np.ndarray:
    """Return records of videos whose label and features equal their position."""
    positions = [job % videos for job in jobs]
    features = np.repeat(np.array(positions, np.float32)[:, None], 4, axis=1)
    batch = Batch(np.empty(0), np.array(positions), positions, files=[[100 + i, 7] for i in positions])
    return records_of(DTYPE, batch, features, jobs, videos, replaced=False)


def missing(path: Path, files: np.ndarray = FILES, jobs: int = 10) -> tuple[list[int], int, int]:
    found = missing_jobs(path, DTYPE, jobs, files)
    return found.jobs.tolist(), found.unreadable, found.changed


@pytest.fixture
def file(tmp_path):
    """Provide a file of ten records."""
    path = tmp_path / "file"
    put_records(path, [records(*range(6)), records(*range(6, 10))])
    return path


def test_records_are_read_as_they_were_written(file):
    assert missing(file) == ([], 0, 0)
    kept = open_records(file, DTYPE, 10)
    assert kept["job"].tolist() == kept["video"].tolist() == kept["label"].tolist() == list(range(10))
    assert kept["features"].dtype == np.float16 and kept["features"][7].tolist() == [7] * 4


@pytest.mark.parametrize(
    "damage, lost",
    [
        (lambda content: content[:-1], [9]),
        (lambda content: content[: 3 * SIZE + 5], [3, 4, 5, 6, 7, 8, 9]),
        (lambda content: content[:SIZE] + bytes(SIZE) + content[2 * SIZE :], [1]),  # what a power cut leaves
        (lambda content: content[: 8 * SIZE - 1] + bytes([content[8 * SIZE - 1] ^ 1]) + content[8 * SIZE :], [7]),
        (lambda content: content[SIZE : 2 * SIZE] + content[SIZE:], [0]),  # the record of another job
        (lambda content: content[SIZE:], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (lambda content: content + bytes(2 * SIZE), []),
        (lambda content: b"", [*range(10)]),
    ],
    ids=["a byte", "within a record", "zeros", "a bit", "another's", "moved", "zeros behind", "nothing"],
)
def test_damaged_records_are_missing_and_written_again(file, damage, lost):
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert missing(file) == (lost, 0, 0)
    put_records(file, [records(*lost[:2]), records(*lost[2:])])
    assert file.read_bytes()[: 10 * SIZE] == content


def test_without_a_file_all_records_are_missing(tmp_path):
    assert missing(tmp_path / "none") == ([*range(10)], 0, 0)


def test_records_of_replaced_and_of_unreadable_videos_are_missing(file):
    """Five videos with two views each: one view of video 3 was unreadable, and videos 1 and 4 have new files."""
    put_records(file, [records(*range(10), videos=5)])
    batch = Batch(np.empty(0), np.array([4]), [4], [(3, "no such file")], [[104, 7]])
    put_records(file, [records_of(DTYPE, batch, np.zeros((1, 4)), [8], 5, replaced=True)])
    assert missing(file, FILES[:5]) == ([8], 1, 0)
    now = FILES[:5].copy()
    now[1, 0] += 1
    now[4, 1] += 1
    assert missing(file, now) == ([1, 4, 6, 8, 9], 1, 4)
    now[0] = NO_FILE
    assert missing(file, now)[1:] == (1, 6)


def test_a_remote_video_is_the_same_one_as_long_as_it_could_be_read(file):
    batch = Batch(np.empty(0), np.array([4]), [4], files=[None])
    put_records(file, [records_of(DTYPE, batch, np.zeros((1, 4)), [4], 10, replaced=False)])
    assert missing(file, np.where(np.arange(10)[:, None] == 4, NO_FILE, FILES)) == ([], 0, 0)


@pytest.mark.parametrize("more, said", [(10, "20"), (-1, "9"), (0.5, "10.5")])
def test_a_file_of_another_number_of_records_is_refused(file, more, said):
    """Two runs may write to one file on a disk without locks."""
    content = file.read_bytes()
    file.write_bytes((content + content)[: int((10 + more) * SIZE)])
    with pytest.raises(RunError) as error:
        open_records(file, DTYPE, 10)
    says(error.value, f"{file}: ", f" {said} records", "10", "remove it", "run again")


@pytest.mark.parametrize("write", [put_records, append_records])
def test_a_full_disk_is_one_line(tmp_path, write):
    said = f"^{tmp_path}/x: cannot be written: File too large$"
    with largest_file(3 * SIZE + 5), pytest.raises(RunError, match=said):
        write(tmp_path / "x", [records(*range(10))])
    assert missing(tmp_path / "x") == ([*range(3, 10)], 0, 0)


@pytest.mark.parametrize("number, ranks", [(10, 2), (10, 3), (2, 3), (2500, 2)])
def test_parts_of_ranks_are_taken_in(tmp_path, number, ranks):
    whole, parts = tmp_path / "whole", [tmp_path / f"part{rank}" for rank in range(1, ranks)]
    put_records(whole, [records(*range(0, number, ranks), videos=number)])
    for rank, part in enumerate(parts, start=1):
        part.write_bytes(b"of a rank that was killed")
        append_records(part, [records(*range(rank, number, ranks), videos=number)])
        assert take_in(whole, part, DTYPE, number) == len(range(rank, number, ranks))
    assert open_records(whole, DTYPE, number)["video"].tolist() == list(range(number))
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_whole_records_of_a_killed_ranks_part_are_taken(file, tmp_path):
    content = file.read_bytes()
    file.write_bytes(content[: 4 * SIZE])
    part = tmp_path / "part"
    append_records(part, [records(5, 7), records(9, 11, videos=12)])
    part.write_bytes(part.read_bytes()[: -SIZE // 2])
    assert take_in(file, part, DTYPE, 10) == 3
    assert missing(file) == ([4, 6, 8], 0, 0)


def test_an_unreadable_video_of_validation_is_a_record_without_features():
    batch = Batch(np.empty(0), np.array([3, 5]), [3, 5], [(4, "no such file")], [[1, 2], [3, 4]])
    kept = records_of(DTYPE, batch, np.array([[3] * 4, [5] * 4]), [3, 4, 5], 9, replaced=False)
    assert (kept["video"].tolist(), kept["label"].tolist()) == ([3, -1, 5], [3, 0, 5])
    assert kept["reason"].tolist() == [b"", b"no such file", b""]
    assert kept["file"].tolist() == [[1, 2], [-1, -1], [3, 4]]


def test_an_unreadable_video_of_training_is_a_record_of_another_one():
    batch = Batch(np.empty(0), np.array([3, 7, 5]), [3, 7, 5], [(4, "é" * 200)], [[1, 2], [5, 6], [3, 4]])
    kept = records_of(DTYPE, batch, np.array([[3] * 4, [7] * 4, [5] * 4]), [12, 13, 14], 9, replaced=True)
    assert (kept["job"].tolist(), kept["video"].tolist()) == ([12, 13, 14], [3, 7, 5])
    assert kept["reason"][1].decode() == "é" * 120


def loader_of(kept: np.ndarray, **options) -> FeatureLoader:
    return FeatureLoader(kept, 2, **options)


def test_batches_have_what_reader_batches_have():
    batch = Batch(np.empty(0), np.array([0, 2, 3]), [0, 2, 3], [(1, "broken")], [None] * 3)
    kept = records_of(DTYPE, batch, np.arange(12).reshape(3, 4), range(4), 4, replaced=False)
    batches = list(loader_of(kept).batches(range(1, 4)))
    assert [b.indices for b in batches] == [[2], [3]]
    assert [b.labels.tolist() for b in batches] == [[2], [3]]
    assert [b.unreadable for b in batches] == [[(1, "broken")], []]
    assert batches[0].frames.dtype == np.float32 and batches[0].frames.tolist() == [[4, 5, 6, 7]]


def views_seen(epochs: int, order: list[int], views: int = 4, videos: int = 3) -> list[list[int]]:
    """Return, for each epoch, the view of each video in `order`."""
    kept = records(*range(views * videos), videos=videos)
    kept["features"] = np.repeat(np.arange(views), videos)[:, None]
    loader = loader_of(kept, views=views, seed=5)
    return [[int(view) for b in loader.batches(order, epoch) for view in b.frames[:, 0]] for epoch in range(epochs)]


def test_every_epoch_sees_another_view_until_all_are_seen():
    seen = np.array(views_seen(8, [0, 1, 2]))
    assert all(sorted(seen[:4, video]) == [0, 1, 2, 3] for video in range(3))
    assert np.array_equal(seen[4:], seen[:4])
    assert len(set(seen[0])) > 1  # they begin with different views


def test_a_video_that_is_drawn_twice_in_an_epoch_shows_two_views():
    assert len(set(views_seen(1, [1, 1 + 3, 1 + 6, 1 + 9])[0])) == 4

"""Kept features: what a file holds after anything that can happen to it, and the batches that are made of it."""

import numpy as np
import pytest

from reader.loader import Batch
from training.features import (
    FeatureLoader,
    append_records,
    join_records,
    open_records,
    record_type,
    records_of,
    whole_records,
)  # fmt: skip
from utils.errors import RunError

DTYPE = record_type((4,))


def records(*positions: int) -> np.ndarray:
    """Of videos whose label and features are their position."""
    features = np.repeat(np.array(positions, np.float32)[:, None], 4, axis=1)
    batch = Batch(np.empty(0), np.array(positions), list(positions))
    return records_of(DTYPE, batch, features, positions, replaced=False)


@pytest.fixture
def file(tmp_path):
    """Ten records."""
    path = tmp_path / "file"
    append_records(path, [records(*range(6)), records(*range(6, 10))])
    return path


def test_records_are_read_as_they_were_written(file):
    assert whole_records(file, DTYPE) == 10
    kept = open_records(file, DTYPE)
    assert kept["video"].tolist() == kept["label"].tolist() == list(range(10))
    assert kept["features"].dtype == np.float16 and kept["features"][7].tolist() == [7] * 4


SIZE = DTYPE.itemsize


@pytest.mark.parametrize(
    "damage, whole",
    [
        (lambda content: content[:-1], 9),
        (lambda content: content[: 3 * SIZE + 5], 3),
        (lambda content: content[:SIZE] + bytes(SIZE) + content[2 * SIZE :], 1),  # what a power cut leaves
        (lambda content: content[: 8 * SIZE - 1] + bytes([content[8 * SIZE - 1] ^ 1]) + content[8 * SIZE :], 7),
        (lambda content: content + bytes(2 * SIZE), 10),
        (lambda content: b"", 0),
    ],
    ids=["a byte", "within a record", "zeros", "a bit", "zeros behind", "nothing"],
)
def test_what_is_damaged_is_cut_off_and_written_again(file, damage, whole):
    content = file.read_bytes()
    file.write_bytes(damage(content))
    assert whole_records(file, DTYPE) == whole
    assert file.read_bytes() == content[: whole * SIZE]
    append_records(file, [records(*range(whole, 10))])
    assert file.read_bytes() == content


def test_there_may_be_no_file_yet(tmp_path):
    assert whole_records(tmp_path / "none", DTYPE) == 0


def test_a_full_disk_is_one_line():
    with pytest.raises(RunError, match="^/dev/full: cannot be written: No space left on device$"):
        append_records("/dev/full", [records(1)])


@pytest.mark.parametrize("number, ranks", [(10, 1), (10, 2), (10, 3), (2, 3), (2500, 2)])
def test_parts_of_ranks_are_joined(tmp_path, number, ranks):
    parts = [tmp_path / f"part{rank}" for rank in range(ranks)]
    for rank, part in enumerate(parts):
        append_records(part, [records(*range(rank, number, ranks))])
    join_records(tmp_path / "whole", parts, DTYPE)
    assert open_records(tmp_path / "whole", DTYPE)["video"].tolist() == list(range(number))
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_an_unreadable_video_of_validation_is_a_record_without_features():
    batch = Batch(np.empty(0), np.array([3, 5]), [3, 5], [(4, "no such file")])
    kept = records_of(DTYPE, batch, np.array([[3] * 4, [5] * 4]), [3, 4, 5], replaced=False)
    assert (kept["video"].tolist(), kept["label"].tolist()) == ([3, -1, 5], [3, 0, 5])
    assert kept["reason"].tolist() == [b"", b"no such file", b""]


def test_an_unreadable_video_of_training_is_a_record_of_another_one():
    batch = Batch(np.empty(0), np.array([3, 7, 5]), [3, 7, 5], [(4, "é" * 200)])
    kept = records_of(DTYPE, batch, np.array([[3] * 4, [7] * 4, [5] * 4]), [3, 4, 5], replaced=True)
    assert kept["video"].tolist() == [3, 7, 5]
    assert kept["reason"][1].decode() == "é" * 120


def loader_of(kept: np.ndarray, **options) -> FeatureLoader:
    return FeatureLoader(kept, 2, **options)


def test_batches_have_what_reader_batches_have():
    batch = Batch(np.empty(0), np.array([0, 2, 3]), [0, 2, 3], [(1, "broken")])
    kept = records_of(DTYPE, batch, np.arange(12).reshape(3, 4), range(4), replaced=False)
    batches = list(loader_of(kept).batches(range(1, 4)))
    assert [b.indices for b in batches] == [[2], [3]]
    assert [b.labels.tolist() for b in batches] == [[2], [3]]
    assert [b.unreadable for b in batches] == [[(1, "broken")], []]
    assert batches[0].frames.dtype == np.float32 and batches[0].frames.tolist() == [[4, 5, 6, 7]]


def views_seen(epochs: int, order: list[int], views: int = 4, videos: int = 3) -> list[list[int]]:
    """For each epoch the view of each of `order`."""
    kept = records(*(video for _ in range(views) for video in range(videos)))
    kept["features"] = np.repeat(np.arange(views), videos)[:, None]
    loader = loader_of(kept, views=views, seed=5)
    return [[int(view) for b in loader.batches(order, epoch) for view in b.frames[:, 0]] for epoch in range(epochs)]


def test_every_epoch_sees_another_view_until_all_are_seen():
    seen = np.array(views_seen(8, [0, 1, 2]))
    assert all(sorted(seen[:4, video]) == [0, 1, 2, 3] for video in range(3))
    assert np.array_equal(seen[4:], seen[:4])
    assert len(set(seen[0])) > 1  # not all begin with the same one


def test_a_video_that_is_drawn_twice_in_an_epoch_shows_two_views():
    assert len(set(views_seen(1, [1, 1 + 3, 1 + 6, 1 + 9])[0])) == 4

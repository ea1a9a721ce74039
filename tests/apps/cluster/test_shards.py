"""A list is cut into shards between batches."""

import pytest

from apps.cluster.shards import cut
from results.list_results import whole_batches

HEAD = {"script": "predict", "videos": 10, "weights": "ab", "protocol": "weights /a"}


@pytest.mark.parametrize(
    ("asked", "batch_size", "size"), [(None, 64, 1024), (1, 4, 4), (4, 4, 4), (5, 4, 8), (1000, 1, 1000)]
)
def test_shards_are_cut_between_batches(asked, batch_size, size):
    assert whole_batches(asked, batch_size) == size


def test_every_position_is_in_one_shard():
    shards = cut(HEAD, 4)
    assert [(s.index, s.first, s.last, len(s)) for s in shards] == [(0, 0, 4, 4), (1, 4, 8, 4), (2, 8, 10, 2)]
    assert str(shards[1]) == "shard 1 (positions 4 to 7)"
    assert [s.name[:12] for s in shards] == ["part-000000-", "part-000001-", "part-000002-"]


def test_names_are_those_of_the_same_work_alone():
    def names(size=4, **changed):
        return {shard.name for shard in cut({**HEAD, **changed}, size)}

    assert names() == names(protocol="weights /b")
    assert not names() & names(weights="cd")
    assert len(names() & names(videos=12)) == 0
    assert names() & names(5) == set()

"""A list is cut into shards; a machine has slots for workers."""

import pytest

from apps.cluster.pool import slots_of
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


def node(alive=True, name="n", **resources):
    return {"NodeID": name, "NodeManagerHostname": "host", "Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("machine", "wants", "needs", "slots"),
    [
        (node(CPU=8.0), True, False, [(8, False)]),
        (node(CPU=8.0), True, True, []),
        (node(CPU=8.0, GPU=2.0), True, False, [(4, True), (4, True)]),
        (node(CPU=8.0, GPU=2.0), False, False, [(8, False)]),
        (node(CPU=1.0, GPU=2.0), True, True, [(1, True), (1, True)]),
        (node(memory=1e9), True, False, []),  # ray start --num-cpus=0
        (node(alive=False), True, False, []),
    ],
)
def test_slots(machine, wants, needs, slots):
    assert [(slot.cores, slot.on_gpu) for slot in slots_of([machine], wants, needs)] == slots

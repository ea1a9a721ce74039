"""Test how ranks divide the videos, and their messages, with threads in place of processes."""

import json
import os
import re
import secrets
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import paddle
import pytest

from utils.errors import InputError, RunError
from utils.processes.channel import Channel, linked
from utils.processes.ranks import World, env_ranks_here


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("videos", [1, 2, 5, 12, 23])
def test_every_video_belongs_to_one_rank_and_every_batch_is_shared(size, videos):
    order, batch = list(np.random.default_rng(0).permutation(videos)), 12
    shares = [World(rank, size).shard(order, batch) for rank in range(size)]
    assert Counter(sum(shares, [])) == Counter(order)
    for start in range(0, videos, batch):
        of_batch = order[start : start + batch]
        per_rank = [[index for index in share if index in of_batch] for share in shares]
        assert sum(per_rank, []) == of_batch  # in order
        lengths = [len(part) for part in per_rank]
        assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


def test_a_batch_that_does_not_divide_gets_the_arithmetic():
    assert World(0, 4).local_batch_size(256, "TRAIN.batch_size") == 64
    message = (
        "TRAIN.batch_size is 30 for all devices together, which 8 devices cannot share evenly "
        "(30 / 8 = 3.75): 24 or 32 would do"
    )
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        World(0, 8).local_batch_size(30, "TRAIN.batch_size")
    with pytest.raises(InputError, match=r"\(3 / 8 = 0.38\): 8 would do$"):
        World(0, 8).local_batch_size(3, "TRAIN.batch_size")


TWO_MACHINES = "10.0.0.1:6170,10.0.0.1:6171,10.0.0.2:6170,10.0.0.2:6171,10.0.0.2:6172"


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({"PADDLE_TRAINER_ENDPOINTS": TWO_MACHINES, "PADDLE_CURRENT_ENDPOINT": "10.0.0.1:6171"}, 2),
        ({"PADDLE_TRAINER_ENDPOINTS": TWO_MACHINES, "PADDLE_CURRENT_ENDPOINT": "10.0.0.2:6172"}, 3),
        (
            {"PADDLE_CURRENT_ENDPOINT": "10.0.0.2:6172", "PADDLE_LOCAL_SIZE": "3"},
            3,
        ),  # with too many endpoints, Paddle leaves them out
        ({}, 5),
    ],
)
def test_the_ranks_of_this_machine(monkeypatch, environment, expected):
    for name in ("PADDLE_TRAINER_ENDPOINTS", "PADDLE_CURRENT_ENDPOINT", "PADDLE_LOCAL_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"PADDLE_TRAINERS_NUM": "5", **environment}.items():
        monkeypatch.setenv(name, value)
    assert env_ranks_here() == expected


def test_all_ranks_are_here_where_nobody_says_otherwise():
    assert [World().ranks_here, World(1, 3).ranks_here, World(1, 3, on_machine=2).ranks_here] == [1, 3, 2]


def test_alone_every_method_is_the_identity():
    world, tensor = World(), paddle.ones([2])
    assert world.all_reduce([1, True, 3]).tolist() == [1, 1, 3]
    assert (world.all_gather("x"), world.broadcast("x"), world.shard([3, 1], 1)) == (["x"], "x", [3, 1])
    world.broadcast_tensors([tensor])
    world.average([tensor])
    assert tensor.numpy().tolist() == [1, 1]


class Store:
    """A store that all ranks can read."""

    def __init__(self):
        self.values, self.is_set = {}, Event()

    def set(self, key: str, value: str) -> None:
        self.values[key] = value.encode()
        self.is_set.set()

    def get(self, key: str) -> bytes:
        assert self.is_set.wait(10)
        return self.values[key]


def close(channel: Channel) -> None:
    for connection in channel._others:
        connection.close()


@pytest.fixture(params=["inherited", "over_network"])
def channels(request, monkeypatch):
    """Provide three connected channels."""
    if request.param == "inherited":
        with linked(3) as links:
            copies = [[os.dup(descriptor) for descriptor in descriptors] for descriptors in links]
        channels = []
        for rank, descriptors in enumerate(copies):
            monkeypatch.setenv("TSN_LINK_FDS", ",".join(map(str, descriptors)))
            channels.append(Channel.inherited(rank))
        yield channels
        return
    store = Store()
    with ThreadPoolExecutor(3) as pool:
        yield list(pool.map(lambda rank: Channel.over_network(rank, 3, "127.0.0.1", store), range(3)))


def test_ranks_exchange_values_in_order(channels):
    with ThreadPoolExecutor(3) as pool:
        for round_ in range(50):
            values = [(rank, round_, "x" * (10**5 if rank == round_ % 4 else 1)) for rank in range(3)]
            found = list(pool.map(lambda rank: channels[rank].exchange(values[rank]), range(3)))
            assert found == [values] * 3
        worlds = [World(rank, 3, channel) for rank, channel in enumerate(channels)]
        sums = list(pool.map(lambda world: world.all_reduce([world.rank, True]).tolist(), worlds))
        assert sums == [[3, 3]] * 3


@pytest.mark.parametrize("gone", [0, 2])
def test_who_is_gone_is_named(channels, gone):
    close(channels[gone])
    other = 1 if gone == 0 else 0
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(channels[rank].exchange, None) for rank in range(3) if rank != gone]
        with pytest.raises(
            RunError, match=f"^another process has ended: rank {re.escape(channels[other].name(gone))}$"
        ):
            results[[rank for rank in range(3) if rank != gone].index(other)].result(10)
        for channel in channels:
            close(channel)


def test_who_links_processes_keeps_none_of_their_ends():
    """With an open copy, the other ranks would not notice the end of a rank."""
    with linked(3) as links:
        assert list(map(len, links)) == [2, 1, 1]
    for descriptor in sum(links, []):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_stranger_is_not_let_in():
    class Haunted(Store):
        def set(self, key: str, value: str) -> None:
            host, port, _ = json.loads(value)
            self.stranger = socket.create_connection((host, port))
            self.stranger.sendall(secrets.token_bytes(200))
            super().set(key, value)

    store = Haunted()
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda rank: Channel.over_network(rank, 2, "127.0.0.1", store), range(2))
        answers = list(pool.map(lambda channel: channel.exchange(1), (first, second)))
    assert answers == [[1, 1]] * 2
    store.stranger.close()
    close(first), close(second)

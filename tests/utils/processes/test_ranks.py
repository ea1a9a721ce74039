"""Who reads what, and messages between processes, here between threads."""

import re
import secrets
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import paddle
import pytest

from utils.errors import InputError, RunError
from utils.processes.channel import Channel
from utils.processes.ranks import World


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("videos", [1, 2, 5, 12, 23])
def test_every_video_belongs_to_one_rank_and_every_batch_is_shared(size, videos):
    order, batch = list(np.random.default_rng(0).permutation(videos)), 12
    shares = [World(rank, size).share(order, batch) for rank in range(size)]
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


def test_alone_every_method_is_the_identity():
    world, tensor = World(), paddle.ones([2])
    assert world.sum([1, True, 3]).tolist() == [1, 1, 3]
    assert (world.gather("x"), world.first("x"), world.share([3, 1], 1)) == (["x"], "x", [3, 1])
    world.sum_gradients([tensor])
    world.copy_from_first([tensor])
    world.average([tensor])
    assert tensor.numpy().tolist() == [1, 1]


def close(channel: Channel) -> None:
    for connection in channel._others:
        connection.close()


@pytest.fixture
def channels():
    """Three connected channels."""
    barrier, shared = Barrier(3), [None] * 3

    def connect(rank: int) -> Channel:
        def share(value):
            shared[rank] = value
            barrier.wait(10)
            return shared

        return Channel(rank, 3, "127.0.0.1", share)

    with ThreadPoolExecutor(3) as pool:
        yield list(pool.map(connect, range(3)))


def test_ranks_exchange_values_in_order(channels):
    with ThreadPoolExecutor(3) as pool:
        for round_ in range(50):
            values = [(rank, round_, "x" * (10**5 if rank == round_ % 4 else 1)) for rank in range(3)]
            found = list(pool.map(lambda rank: channels[rank].exchange(values[rank]), range(3)))
            assert found == [values] * 3
        worlds = [World(rank, 3, channel) for rank, channel in enumerate(channels)]
        sums = list(pool.map(lambda world: world.sum([world.rank, True]).tolist(), worlds))
        assert sums == [[3, 3]] * 3


@pytest.mark.parametrize("gone", [0, 2])
def test_who_is_gone_is_named(channels, gone):
    close(channels[gone])
    other = 1 if gone == 0 else 0
    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(channels[rank].exchange, None) for rank in range(3) if rank != gone]
        with pytest.raises(RunError, match=f"^another process has ended: rank {gone}$"):
            results[[rank for rank in range(3) if rank != gone].index(other)].result(10)
        for channel in channels:
            close(channel)


def test_a_stranger_is_not_let_in():
    shared, ready = [], Barrier(2)

    def share(value):
        if value is not None:
            shared.append(value)
        ready.wait(10)
        if value is not None:
            with socket.create_connection(value[0]) as stranger:
                stranger.sendall(secrets.token_bytes(200))
        ready.wait(10)
        return shared

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda rank: Channel(rank, 2, "127.0.0.1", share), range(2))
        answers = list(pool.map(lambda channel: channel.exchange(1), (first, second)))
    assert answers == [[1, 1]] * 2
    close(first), close(second)

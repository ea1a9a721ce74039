"""What waits together is computed together; a network that fails, fails for all."""

import threading

import numpy as np
import pytest

from serving.batches import Batches


class Held:
    """A network that computes when it is let, and remembers the sizes of its calls."""

    def __init__(self):
        self.sizes, self.let, self.begun = [], threading.Event(), threading.Semaphore(0)

    def __call__(self, clips: np.ndarray) -> np.ndarray:
        self.sizes.append(len(clips))
        self.begun.release()
        self.let.wait(20)
        return clips.reshape(len(clips), -1)[:, :2].astype(np.float32)


def clip(number: int) -> np.ndarray:
    return np.full((1, 2, 2, 3), number, np.uint8)


def test_those_that_came_meanwhile_are_one_call():
    network, failures = Held(), []
    batches = Batches(network, 4, 1, failures.append)
    futures = [batches.ask(clip(0))]
    assert network.begun.acquire(timeout=20)
    futures += [batches.ask(clip(number)) for number in range(1, 8)]
    assert futures[2].cancel()
    network.let.set()
    batches.close()
    assert network.sizes == [1, 4, 2] and failures == []
    assert [f.result().tolist() for i, f in enumerate(futures) if i != 2] == [[[n, n]] for n in range(8) if n != 2]


def test_each_thread_has_a_call():
    network = Held()
    batches = Batches(network, 1, 2, print)
    futures = [batches.ask(clip(number)) for number in range(3)]
    assert network.begun.acquire(timeout=20) and network.begun.acquire(timeout=20)
    assert network.sizes == [1, 1]
    network.let.set()
    batches.close()
    assert [future.result()[0, 0] for future in futures] == [0, 1, 2]


def test_a_failure_is_told_once_and_to_all_who_ask():
    failures = []

    def compute(clips: np.ndarray) -> np.ndarray:
        raise RuntimeError("a network process ended")

    batches = Batches(compute, 1, 1, failures.append)
    futures = [batches.ask(clip(0)), batches.ask(clip(1))]
    batches.close()
    for future in futures:
        with pytest.raises(RuntimeError, match="a network process ended"):
            future.result()
    assert len(failures) == 1

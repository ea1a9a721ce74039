"""Batches come back in order with their logits, and the network gets as many ahead as it asks for."""

import numpy as np
import pytest

from inference.pipeline import answers
from inference.views import Output
from reader.loader import Batch


def batch(number: int, videos: int = 1) -> Batch:
    frames = np.full((videos, 1, 2, 2, 3), number, np.uint8)
    return Batch(frames, np.zeros(videos, np.int64), list(range(videos)))


def output(frames: np.ndarray) -> Output:
    return Output(frames[:, 0, 0, 0, :1].astype(np.float32), np.zeros((len(frames), 1, 1), np.float32))


class Recorded:
    """A network that records when it is asked and when it is waited for."""

    def __init__(self, ahead: int):
        self.ahead, self.events = ahead, []

    def start(self, frames: np.ndarray):
        number = int(frames[0, 0, 0, 0, 0])
        self.events.append(f"start {number}")

        def wait() -> Output:
            self.events.append(f"wait {number}")
            return output(frames)

        return wait


@pytest.mark.parametrize("network", [Recorded(0), Recorded(1), Recorded(3), Recorded(20)])
def test_order(network):
    results = [(b.frames[0, 0, 0, 0, 0], out.logits[0, 0]) for b, out in answers(network, map(batch, range(10)))]
    assert results == [(n, n) for n in range(10)]


def test_batches_are_given_ahead():
    network = Recorded(2)
    list(answers(network, map(batch, range(4))))
    assert network.events == [
        "start 0", "start 1", "start 2", "wait 0", "start 3", "wait 1", "wait 2", "wait 3",
    ]  # fmt: skip


@pytest.mark.parametrize("network", [Recorded(0), Recorded(2)])
def test_a_batch_of_unreadable_videos_is_not_computed(network):
    batches = [batch(5), batch(0, videos=0), batch(7)]
    assert [out.logits.tolist() for _, out in answers(network, batches)] == [[[5]], [], [[7]]]

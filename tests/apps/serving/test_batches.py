"""Clips that wait together are computed together; if the network fails, all clips fail."""

import asyncio
import base64
import io
import threading
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from apps.serving.batches import FAILURES, NetworkError, VideoQueue
from apps.serving.pictures import Pictures
from results.pages import heatmaps
from utils.config.keys import InferConfig


class Held:
    """A network that waits for `let`, and keeps the sizes of its calls."""

    def __init__(self):
        self.sizes, self.let, self.begun = [], threading.Event(), threading.Semaphore(0)

    def __call__(self, clips: np.ndarray) -> Callable[[], np.ndarray]:
        self.sizes.append(len(clips))
        self.begun.release()
        return lambda: (self.let.wait(20), clips.reshape(len(clips), -1)[:, :2].astype(np.float32))[1]


def clip(number: int) -> np.ndarray:
    return np.full((1, 2, 2, 3), number, np.uint8)


def test_clips_that_arrive_meanwhile_are_one_call():
    network, failures = Held(), []
    batches = VideoQueue(network, 4, 1, failures.append)
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
    batches = VideoQueue(network, 1, 2, print)
    futures = [batches.ask(clip(number)) for number in range(3)]
    assert network.begun.acquire(timeout=20) and network.begun.acquire(timeout=20)
    assert network.sizes == [1, 1]
    network.let.set()
    batches.close()
    assert [future.result()[0, 0] for future in futures] == [0, 1, 2]


def test_the_next_call_begins_before_the_previous_one_ends():
    network = Held()
    batches = VideoQueue(network, 2, 1, print, ahead=True)
    first = batches.ask(clip(9))
    assert network.begun.acquire(timeout=20) and not first.done()
    network.let.set()
    assert first.result(20)[0, 0] == 9  # without waiting for another clip
    network.let.clear()
    gate = threading.Event()
    held = batches.ask(lambda: gate.wait(20))  # until all clips wait
    futures = [batches.ask(clip(number)) for number in range(5)]
    gate.set()
    assert network.begun.acquire(timeout=20) and network.begun.acquire(timeout=20)
    assert held.result(20) and network.sizes == [1, 2, 2] and not futures[0].done()
    network.let.set()
    batches.close()
    assert network.sizes == [1, 2, 2, 1] and [future.result()[0, 0] for future in futures] == [0, 1, 2, 3, 4]


def test_heat_maps_of_a_gpu_are_computed_by_the_networks_thread(monkeypatch):
    found, places = [], (2, 2)

    def maps(model, frames: np.ndarray, class_id: int) -> np.ndarray:
        found.append(threading.current_thread().name)
        if class_id:
            raise RuntimeError("no such class")
        return np.zeros((len(frames), *places), np.float32)

    monkeypatch.setattr(heatmaps, "activation_maps", maps)
    model = SimpleNamespace(shifts=True, feature_maps=None)
    batches = VideoQueue(Held(), 1, 1, print)
    for ask in (batches.ask, None):
        pictures = Pictures(SimpleNamespace(model=lambda: model), InferConfig(seg_num=1), ask)
        [picture] = asyncio.run(pictures.heat_maps(clip(0), 0))
        assert Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))).size == (160, 160)
        with pytest.raises(RuntimeError, match="no such class"):
            asyncio.run(pictures.heat_maps(clip(0), 1))
        places = (1, 1)
        assert asyncio.run(pictures.heat_maps(clip(0), 0)) == []  # one place cannot show where
        places = (2, 2)
        pictures.close()
    batches.close()
    assert found == ["network"] * 3 + ["heat maps_0"] * 3


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("where", ["start", "wait"])
def test_a_failure_is_reported_once_and_to_all_clips(where, ahead):
    failures = []

    def fail() -> np.ndarray:
        raise RuntimeError("a network process ended")

    def start(clips: np.ndarray) -> Callable[[], np.ndarray]:
        return fail() if where == "start" else fail

    batches = VideoQueue(start, 1, 1, failures.append, ahead=ahead)
    futures = [batches.ask(clip(number)) for number in range(3)]
    batches.close()
    for future in futures:
        with pytest.raises(NetworkError, match="a network process ended"):
            future.result()
    assert len(failures) == 1


def test_a_failed_call_is_repeated_clip_by_clip():
    """Memory may be short for a moment. A clip that fails twice does not end the network."""
    let, calls, failures = threading.Event(), [], []

    def start(clips: np.ndarray) -> Callable[[], np.ndarray]:
        let.wait(20)
        calls.append(clips[:, 0, 0, 0, 0].tolist())
        if 2 in calls[-1]:
            raise RuntimeError("bad allocation")
        return lambda: clips.reshape(len(clips), -1)[:, :1].astype(np.float32)

    batches = VideoQueue(start, 3, 1, failures.append)
    futures = [batches.ask(clip(number)) for number in (1, 2, 3, 4, 2, 5, 2)]
    let.set()
    batches.close()
    answers = ["failed" if future.exception() else future.result().tolist() for future in futures]
    assert answers == [[[1]], "failed", [[3]], [[4]], "failed", [[5]], "failed"] and failures == []
    assert FAILURES == 3 and [call for call in calls if call in ([2], [3])][:2] == [[2], [3]]

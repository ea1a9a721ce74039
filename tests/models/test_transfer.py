"""Batches on their way to a GPU and back: beside its computations, in one stream, while other threads run."""

import sys
import time
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from fake_gpu import FakeGpu, hold_the_interpreter, share_of_work_done
from inference.eager import eager_start
from inference.pipeline import answers
from inference.views import over_views
from models.transfer import fetch, send, wait_for_gpu
from reader.loader import Batch
from utils.config.keys import TestConfig

FRAMES = np.arange(2 * 3 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 4, 3)


class Means:
    """A network whose features are the means of frames, and whose logits are its features."""

    fc = SimpleNamespace(weight=SimpleNamespace(dtype="float32"))

    def __init__(self, gpu: FakeGpu):
        self.gpu = gpu

    def features(self, frames: paddle.Tensor) -> paddle.Tensor:
        self.gpu.log.append("compute")
        return frames.astype("float32").mean(axis=[2, 3])  # [N, T, C]

    def classify(self, features: paddle.Tensor) -> paddle.Tensor:
        return features


@pytest.mark.parametrize("platform, log, streams", [
    ("linux", ["copies sends", "copies sends", "compute waits"], 1),
    # On Windows, the copies' stream would take its memory from that of the computations.
    ("win32", ["compute sends", "compute sends"], 0),
])  # fmt: skip
def test_all_batches_of_a_run_travel_in_one_stream(monkeypatch, platform, log, streams):
    gpu = FakeGpu().install(monkeypatch)
    monkeypatch.setattr(sys, "platform", platform)
    for _ in range(3):
        sent = send([FRAMES, np.array([1, 2])], "gpu")
        assert np.array_equal(sent.tensors[0].numpy(), FRAMES) and sent.tensors[1].tolist() == [1, 2]
    assert (gpu.log, gpu.streams) == (3 * log, streams)


def test_the_next_batch_is_sent_and_computed_before_an_answer_is_waited_for(monkeypatch):
    gpu = FakeGpu(done=True).install(monkeypatch)
    start = over_views(eager_start(Means(gpu), device="gpu"), TestConfig())

    class Network:
        ahead = 1

        def start(self, frames: np.ndarray):
            wait = start(frames)
            return lambda: (gpu.log.append("answer"), wait())[1]

    batches = [Batch(FRAMES + number, np.zeros(2, np.int64), [0, 1]) for number in range(3)]
    found = [output.logits for _, output in answers(Network(), batches)]
    expected = [batch.frames.astype(np.float32).mean(axis=(1, 2, 3)) for batch in batches]
    assert np.allclose(found, expected, rtol=1e-6)
    computed = ["copies sends", "compute waits", "compute", "compute fetches", "compute fetches"]
    assert gpu.log == [*computed, *computed, "answer", *computed, "answer", "answer"]


def test_what_was_sent_is_held_until_its_answer_is_there(monkeypatch):
    """Otherwise the copies' stream would overwrite a batch that is still being read."""
    FakeGpu(done=True).install(monkeypatch)
    sent = send([FRAMES], "gpu")
    before = sys.getrefcount(sent)
    wait = fetch(sent.tensors, "gpu", sent)
    assert sys.getrefcount(sent) == before + 1
    assert np.array_equal(wait()[0], FRAMES) and np.array_equal(wait()[0], FRAMES)
    assert sys.getrefcount(sent) == before


def test_on_the_cpu_there_is_nothing_to_wait_for(monkeypatch):
    monkeypatch.setattr(paddle.device, "current_stream", None)
    wait_for_gpu()
    sent = send([FRAMES], "cpu")
    assert sent.pinned == [] and np.array_equal(fetch(sent.tensors, "cpu", sent)()[0], FRAMES)


@pytest.mark.skipif(sys.platform == "win32", reason="has no usleep")
def test_other_threads_run_while_the_gpu_is_waited_for(monkeypatch):
    gpu = FakeGpu(seconds=0.1).install(monkeypatch)
    start = eager_start(Means(gpu), device="gpu")
    for wait in (wait_for_gpu, lambda: start(FRAMES)()):
        assert share_of_work_done(wait) > 0.95
    # A wait that holds the interpreter fails the measure; on a busy machine, perhaps not at once.
    assert any(share_of_work_done(lambda: hold_the_interpreter(0.1)) < 0.5 for _ in range(5))


def test_an_answer_is_there_when_it_is_given(monkeypatch):
    FakeGpu(seconds=0.05).install(monkeypatch)
    begun = time.monotonic()
    wait = fetch([paddle.ones([1])], "gpu", send([FRAMES], "gpu"))
    assert wait()[0].tolist() == [1] and time.monotonic() - begun >= 0.05

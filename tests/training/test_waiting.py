"""Batches on a simulated GPU, and the moments when training waits for it."""

from contextlib import ExitStack, nullcontext
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from conftest import ROOT
from fake_gpu import FakeGpu, share_of_work_done
from reader.filelist import Entry
from reader.loader import Batch
from results.pages.heatmaps import activation_maps
from training import sources
from training.amp import Amp, on_device
from training.loop import LossGuard
from training.recipe import Objective, partners
from utils.config.loading import load_config
from utils.config.train_keys import TrainConfig
from utils.processes.ranks import World


def batches(number: int, waited: float = 0.0):
    for i in range(number):
        yield Batch(np.full((2, 1, 4, 4, 3), i, np.uint8), np.array([i, i]), [0, 1]), waited


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_batches_arrive_as_they_were_sent_in_every_epoch(monkeypatch, device):
    gpu = FakeGpu(done=True)
    if device == "gpu":
        gpu.install(monkeypatch)
    for _ in range(2):
        for i, (batch, frames, labels, _) in enumerate(on_device(batches(4), device)):
            assert np.array_equal(frames.numpy(), batch.frames) and labels.tolist() == [i, i]
    assert gpu.streams == (1 if device == "gpu" else 0)


def test_other_threads_run_while_a_step_is_waited_for(monkeypatch):
    FakeGpu(seconds=0.02).install(monkeypatch)
    assert share_of_work_done(lambda: list(on_device(batches(8), "gpu"))) > 0.95


@pytest.mark.parametrize("seconds, waited", [(0.2, [1.5, 0.0]), (0.0, [1.5, 1.5])])
def test_time_in_which_the_gpu_computes_is_not_waiting_for_data(monkeypatch, seconds, waited):
    FakeGpu(seconds=seconds).install(monkeypatch)
    assert [each for *_, each in on_device(batches(2, 1.5), "gpu")] == waited


class Overflowing:
    """A scaler that reads the overflow flag from the GPU."""

    def step(self, optimizer) -> None:
        assert self.gpu.events[-1].query()

    def update(self) -> None:
        pass


def check_loss(gpu: FakeGpu) -> None:
    guard = LossGuard(World())
    guard.add(0, 0, paddle.zeros([]), [])
    guard.check()


def check_weights(gpu: FakeGpu) -> None:
    LossGuard(World()).check_weights(paddle.nn.Linear(1, 2))


def step_in_float16(gpu: FakeGpu) -> None:
    model = paddle.nn.Linear(1, 2)
    amp = Amp(TrainConfig(), "cpu", seeded=False)
    amp._scaler = Overflowing()
    amp._scaler.gpu = gpu
    amp.step(paddle.optimizer.Momentum(0.1, parameters=model.parameters()))


def draw_heat_maps(gpu: FakeGpu) -> None:
    class Model:
        shifts, fc = False, paddle.nn.Linear(3, 2)

        def feature_maps(self, frames: paddle.Tensor) -> paddle.Tensor:
            return frames.astype("float32").transpose([0, 1, 4, 2, 3])

    activation_maps(Model(), np.zeros((40, 4, 4, 3), np.uint8), 1)


@pytest.mark.parametrize("read", [check_loss, check_weights, step_in_float16, draw_heat_maps])
def test_training_waits_for_the_gpu_before_it_reads_from_it(monkeypatch, read):
    """If Paddle waits, no other thread runs meanwhile."""
    gpu = FakeGpu(seconds=0.01).install(monkeypatch)
    read(gpu)
    assert gpu.events and gpu.events[-1].query()


@pytest.mark.parametrize("device, ahead", [("cpu", 0), ("gpu", 1)])
def test_validation_sends_the_next_batch_while_a_gpu_computes(monkeypatch, device, ahead):
    monkeypatch.setattr(sources, "build_loader", lambda *_, **__: nullcontext())
    lists = sources.Lists(load_config(ROOT / "configs" / "tsn.yaml"), [Entry("a", 0)], [Entry("b", 0)], 1, World())
    amp = SimpleNamespace(device=device, autocast=nullcontext)
    with ExitStack() as stack:
        assert sources.video_sources(stack, lists, 0, None, amp).valid_network.ahead == ahead


def test_mixup_copies_its_partners_once_for_each_number_of_videos(monkeypatch):
    copied, real = [], paddle.to_tensor
    objective = Objective(7, mixup_alpha=0.2)
    monkeypatch.setattr(paddle, "to_tensor", lambda data: (copied.append(data), real(data))[1])
    for step, number in enumerate([4, 4, 3, 4, 3]):
        objective(paddle.zeros([number, 1, 4, 4, 3], "uint8"), paddle.zeros([number], "int64"), 0, step, 0)
    assert copied == [partners(4), partners(3)]

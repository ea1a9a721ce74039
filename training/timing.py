"""Measure on the network itself, without changing it, how long a training step takes in each engine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from training.amp import moving_statistics

# Part of a step's time is the same for any batch, and larger in oneDNN. Few frames would show only that part. So the
# batch has as many frames as eager computes in this time, up to a whole batch.
_STEP_SECONDS = 1.5
_FEWEST_FRAMES = 2
_ROUNDS, _LAST_ROUND = 3, 3.0  # the fastest of this many rounds counts; after this many seconds no new round begins


@dataclass(frozen=True)
class StepTimes:
    """Seconds per step (forward and backward) with `frames` frames, by engine."""

    frames: int
    seconds: dict[str, float]

    @property
    def faster(self) -> str:
        return min(self.seconds, key=self.seconds.__getitem__)


def time_steps(model: paddle.nn.Layer, use: Callable[[str], object], batch: Sequence[int]) -> StepTimes:
    """Return the times of "eager" and "onednn", in some seconds for a large network, and under one for a small one.

    model: in training mode, with its first weights. Weights and BatchNorm's statistics do not change, and no gradient
    stays. use: switches to an engine. batch: the shape of a batch, uint8 [N, T, H, W, C].
    """
    statistics = [(tensor, tensor.clone()) for tensor in moving_statistics(model)]
    most, start = batch[0] * batch[1], time.perf_counter()
    few = _frames(min(_FEWEST_FRAMES, most), batch)
    use("eager")
    once = _time_step(model, few)
    if once < _STEP_SECONDS:
        once = _time_step(model, few)  # a small network's first step is much slower than the others
    fitting = int(_STEP_SECONDS / once * _FEWEST_FRAMES)
    frames = _frames(min(max(fitting, _FEWEST_FRAMES), most), batch)
    use("onednn")
    _time_step(model, frames)  # makes its graphs
    seconds: dict[str, list[float]] = {"eager": [], "onednn": []}
    for number in range(_ROUNDS):
        if number and time.perf_counter() - start > _LAST_ROUND:
            break
        for engine, times in seconds.items():  # in turns, so that other load on the machine slows down both
            use(engine)
            times.append(_time_step(model, frames))
    for tensor, before in statistics:
        tensor.set_value(before)
    return StepTimes(frames.shape[1], {engine: min(times) for engine, times in seconds.items()})


def _frames(number: int, batch: Sequence[int]) -> Tensor:
    """Return a video of `number` random frames, uint8 [1, number, H, W, C]."""
    return paddle.to_tensor(np.random.default_rng(0).integers(0, 256, (1, number, *batch[2:]), dtype=np.uint8))


def _time_step(model: paddle.nn.Layer, frames: Tensor) -> float:
    start = time.perf_counter()
    F.cross_entropy(model(frames), paddle.zeros([1], "int64")).backward()
    seconds = time.perf_counter() - start
    for parameter in model.parameters():
        parameter.grad = None  # clear_gradients would leave zeros of the same size
    return seconds

"""How long a step of training takes in each engine, measured on the network itself, which stays as it was."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from training.amp import moving_statistics

# A part of a step's time is the same for any batch, and oneDNN's is the larger one: few frames would tell of that
# alone. So there are as many as eager computes in this time, up to a whole batch.
_STEP_SECONDS = 1.5
_FEWEST_FRAMES = 2
_ROUNDS, _LAST_ROUND = 3, 3.0  # the least of so many counts; after so many seconds no other one begins


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a step (forward and backward) of so many frames, by engine."""

    frames: int
    seconds: dict[str, float]

    @property
    def faster(self) -> str:
        return min(self.seconds, key=self.seconds.__getitem__)


def time_steps(model: paddle.nn.Layer, use: Callable[[str], object], batch: Sequence[int]) -> StepTimes:
    """Return what "eager" and "onednn" take; some seconds with a large network, for a small one less than one.

    model: in training mode, with the weights that it begins with. Neither they nor BatchNorm's statistics change, and
    no gradient stays. use: switches to an engine. batch: the shape of a batch, uint8 [N, T, H, W, C].
    """
    statistics = [(tensor, tensor.clone()) for tensor in moving_statistics(model)]
    most, start = batch[0] * batch[1], time.perf_counter()
    few = _frames(min(_FEWEST_FRAMES, most), batch)
    use("eager")
    once = _time_step(model, few)
    if once < _STEP_SECONDS:
        once = _time_step(model, few)  # as the first step of a small network is much slower than the others
    fitting = int(_STEP_SECONDS / once * _FEWEST_FRAMES)
    frames = _frames(min(max(fitting, _FEWEST_FRAMES), most), batch)
    use("onednn")
    _time_step(model, frames)  # makes its graphs
    seconds: dict[str, list[float]] = {"eager": [], "onednn": []}
    for number in range(_ROUNDS):
        if number and time.perf_counter() - start > _LAST_ROUND:
            break
        for engine, times in seconds.items():  # in turns: what else the machine does slows down both
            use(engine)
            times.append(_time_step(model, frames))
    for tensor, before in statistics:
        tensor.set_value(before)
    return StepTimes(frames.shape[1], {engine: min(times) for engine, times in seconds.items()})


def _frames(number: int, batch: Sequence[int]) -> Tensor:
    """Return a video of so many frames of noise, uint8 [1, number, H, W, C]."""
    return paddle.to_tensor(np.random.default_rng(0).integers(0, 256, (1, number, *batch[2:]), dtype=np.uint8))


def _time_step(model: paddle.nn.Layer, frames: Tensor) -> float:
    start = time.perf_counter()
    F.cross_entropy(model(frames), paddle.zeros([1], "int64")).backward()
    seconds = time.perf_counter() - start
    for parameter in model.parameters():
        parameter.grad = None  # clear_gradients would leave zeros, which are as large
    return seconds

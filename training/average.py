"""Keep TRAIN.ema's moving average of the trained weights. It is validated and saved; training goes on beside it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import paddle
from paddle import Tensor

from training.amp import moving_statistics


def averaged(model: paddle.nn.Layer) -> dict[str, Tensor]:
    """Return the tensors to average, by name: trained parameters, and the statistics of BatchNorm in training mode.

    The statistics are averaged like the weights, as in timm (ModelEmaV2 and V3) and PaddleDetection. mmengine uses
    those of the last step, which belong to other weights.
    """
    statistics = {id(statistic) for statistic in moving_statistics(model)}
    return {name: p for name, p in model.named_parameters() if not p.stop_gradient or id(p) in statistics}


class MovingAverage:
    """Float32 averages by name, on each rank. With a decay of 0 there are none, and nothing is done."""

    def __init__(self, decay: float, model: paddle.nn.Layer):
        """Start from the model's values: its first weights, or the average from a checkpoint."""
        self._decay, self._model = decay, model
        self.tensors = {name: p.detach().clone() for name, p in averaged(model).items()} if decay else {}
        self._here: dict[str, Tensor] = {}
        self._followed: dict[str, Tensor] = {}

    def follow(self, weights: Mapping[str, Tensor]) -> None:
        """Make `update` read these tensors by name: float32 copies that are stepped for low-precision parameters."""
        self._here = {name: p for name, p in self._model.named_parameters() if name in self.tensors}
        self._followed = self._here | {name: weights[name] for name in self.tensors.keys() & weights.keys()}

    @property
    def statistics(self) -> list[Tensor]:
        """Return the averaged BatchNorm statistics, which ranks must combine before they save."""
        return [self.tensors[name] for name, p in self._here.items() if p.stop_gradient]

    def update(self, step: int) -> None:
        """Update the averages after step `step` of the run, from 1: average = d * average + (1 - d) * weight.

        d = min(TRAIN.ema, (1 + step) / (10 + step)), so that short runs forget their first weights too (num_updates of
        TensorFlow's ExponentialMovingAverage). d depends on the step alone, so nothing else is saved.
        """
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        with paddle.no_grad():
            for name, average in self.tensors.items():
                average.lerp_(self._followed[name], share)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Open a context in which the model's weights are the averages. Afterwards it has its own again, to the bit."""
        own = {name: p.detach().clone() for name, p in self._here.items()}
        try:
            _give(self._here, self.tensors)
            yield
        finally:
            _give(self._here, own)


def _give(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.set_value(values[name].astype(parameter.dtype))

"""TRAIN.ema: the moving average of what is trained. It is what is validated and saved; training goes on beside it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import paddle
from paddle import Tensor

from training.amp import moving_statistics


def averaged(model: paddle.nn.Layer) -> dict[str, Tensor]:
    """Return by name what an average is of: the parameters that are trained, the statistics of BatchNorm in training.

    The statistics are averaged like the weights, as timm (ModelEmaV2 and V3) and PaddleDetection have it; mmengine
    takes those of the last step, which belong to other weights.
    """
    statistics = {id(statistic) for statistic in moving_statistics(model)}
    return {name: p for name, p in model.named_parameters() if not p.stop_gradient or id(p) in statistics}


class MovingAverage:
    """Averages in float32 by name, on each rank; with a decay of 0 there are none, and nothing is done."""

    def __init__(self, decay: float, model: paddle.nn.Layer):
        """Begin with what the model holds: its first weights, or the average of a checkpoint."""
        self._decay, self._model = decay, model
        self.tensors = {name: p.detach().clone() for name, p in averaged(model).items()} if decay else {}
        self._here: dict[str, Tensor] = {}
        self._followed: dict[str, Tensor] = {}

    def follow(self, weights: Mapping[str, Tensor]) -> None:
        """Let `update` read these by name: of a parameter in low precision the float32 copy that training steps."""
        self._here = {name: p for name, p in self._model.named_parameters() if name in self.tensors}
        self._followed = self._here | {name: weights[name] for name in self.tensors.keys() & weights.keys()}

    @property
    def statistics(self) -> list[Tensor]:
        """Those of BatchNorm, which ranks have to bring together before they save."""
        return [self.tensors[name] for name, p in self._here.items() if p.stop_gradient]

    def update(self, step: int) -> None:
        """Move the averages after step `step` of the run, from 1: average = d * average + (1 - d) * weight.

        d = min(TRAIN.ema, (1 + step) / (10 + step)), which lets go of the weights at the start of a short run, too
        (num_updates of TensorFlow's ExponentialMovingAverage). It depends on the step alone: nothing else is saved.
        """
        share = 1 - min(self._decay, (1 + step) / (10 + step))
        with paddle.no_grad():
            for name, average in self.tensors.items():
                average.lerp_(self._followed[name], share)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Open a context in which the model has the averages as its weights; then it has its own again, to the bit."""
        own = {name: p.detach().clone() for name, p in self._here.items()}
        try:
            _give(self._here, self.tensors)
            yield
        finally:
            _give(self._here, own)


def _give(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, parameter in parameters.items():
        parameter.set_value(values[name].astype(parameter.dtype))

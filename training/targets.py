"""Provide what MODEL.labels changes in training: the loss, and the epoch's sums on the device."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paddle.nn.functional as F
from paddle import Tensor

from metrics.accuracy import Accuracy
from metrics.many import ManyCounts
from training.recipe import Objective


class ManyObjective(Objective):
    """Binary cross-entropy for each class separately, averaged over the classes (mmaction2's BCELossWithLogits)."""

    def __call__(
        self, frames: Tensor, labels: Tensor, epoch: int, step: int, number: int
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return as `Objective` does. labels: uint8 [N, K]. For mixed videos, the labels are mixed too."""
        return super().__call__(frames, labels.astype("float32"), epoch, step, number)

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum over the videos. A class's weight applies to all its terms, with or without the label."""
        return F.binary_cross_entropy_with_logits(logits, labels, self._weights, reduction="sum") / logits.shape[1]


def _one_seen(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Return (sum of the losses, videos with the right class)."""
    # Not F.cross_entropy: its loss stops at about 69, which would hide how far a run diverges.
    losses = logits.logsumexp(axis=1) - logits.take_along_axis(labels.unsqueeze(1), 1).squeeze(1)
    return losses.sum(), (logits.argmax(axis=1) == labels).sum()


def _many_seen(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Return (sum of the losses, correctly named classes, named classes, true classes)."""
    targets = labels.astype("float32")
    named = (logits >= 0).astype("float32")
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(axis=1)
    return losses.sum(), *((part.astype("int64").sum()) for part in (named * targets, named, targets))


@dataclass(frozen=True)
class TrainingCounts:
    """The sums of training: `counts` makes them for a batch, `of_batch` gives the parts of an epoch's sums."""

    metric: str
    objective: type[Objective]
    counts: Callable[..., Accuracy | ManyCounts]  # arguments: none, or (videos, sums)
    of_batch: Callable[[Tensor, Tensor], Sequence[Tensor]]  # of logits and labels
    chance: Callable[[int], float]  # K classes -> the loss, in nats, of guessing


SEEN = {
    "single": TrainingCounts("top1_acc", Objective, Accuracy, _one_seen, math.log),
    "multi": TrainingCounts("f1", ManyObjective, ManyCounts, _many_seen, lambda classes: math.log(2)),
}

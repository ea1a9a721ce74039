"""What MODEL.labels changes about training: the loss of logits, and what is counted of a whole epoch on the device."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import paddle.nn.functional as F
from paddle import Tensor

from metrics.accuracy import Accuracy
from metrics.many import ManyCounts
from training.recipe import Objective


class ManyObjective(Objective):
    """Binary cross-entropy of each class by itself, the mean over the classes (mmaction2's BCELossWithLogits)."""

    def __call__(
        self, frames: Tensor, labels: Tensor, epoch: int, step: int, number: int
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return as `Objective` does; labels: uint8 [N, K]. Of mixed videos it is that of mixed labels."""
        return super().__call__(frames, labels.astype("float32"), epoch, step, number)

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum over the videos; a class's weight is that of its terms, whether a video has it or not."""
        return F.binary_cross_entropy_with_logits(logits, labels, self._weights, reduction="sum") / logits.shape[1]


def _one_seen(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Return (sum of the losses, videos whose class is named)."""
    # Not F.cross_entropy, which gives no loss above 69 or so: of what diverges it would hide how far.
    losses = logits.logsumexp(axis=1) - logits.take_along_axis(labels.unsqueeze(1), 1).squeeze(1)
    return losses.sum(), (logits.argmax(axis=1) == labels).sum()


def _many_seen(logits: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """Return (sum of the losses, classes named rightly, classes named, true classes)."""
    targets = labels.astype("float32")
    named = (logits >= 0).astype("float32")
    losses = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(axis=1)
    return losses.sum(), *((part.astype("int64").sum()) for part in (named * targets, named, targets))


@dataclass(frozen=True)
class Seen:
    """What is counted of training: a batch's by `counts`, a whole epoch's in the sums that `of_batch` gives."""

    metric: str
    objective: type[Objective]
    counts: Callable[..., Accuracy | ManyCounts]  # of nothing, or of (videos, sums)
    of_batch: Callable[[Tensor, Tensor], Sequence[Tensor]]  # of logits and labels
    chance: Callable[[int], float]  # the loss, in nats, of a network that knows nothing, of K classes


SEEN = {
    "single": Seen("top1_acc", Objective, Accuracy, _one_seen, math.log),
    "multi": Seen("f1", ManyObjective, ManyCounts, _many_seen, lambda classes: math.log(2)),
}

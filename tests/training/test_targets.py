"""Training with many labels: the loss by hand, with weights and mixed videos, and the sums of an epoch."""

import math

import numpy as np
import paddle
import pytest

from metrics.many import ManyCounts
from training.recipe import mixup_share
from training.targets import SEEN, ManyObjective

LOGITS = [[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [1.0, 1.0, -1.0]]
TRUE = [[1, 0, 1], [0, 0, 0], [0, 1, 0]]


def cross_entropy(logits, targets, weights=(1, 1, 1)) -> float:
    """Return the mean over the classes of weight * loss."""
    sigmoid = [1 / (1 + math.exp(-z)) for z in logits]
    each = [-t * math.log(p) - (1 - t) * math.log(1 - p) for p, t in zip(sigmoid, targets)]
    return sum(w * loss for w, loss in zip(weights, each)) / 3


@pytest.mark.parametrize("weights", [(), (2, 1, 0.5)])
@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_binary_cross_entropy(alpha, weights):
    frames = paddle.zeros([3, 2, 4, 4, 3], dtype="uint8")
    objective = ManyObjective(7, mixup_alpha=alpha, weights=weights)
    _, losses = objective(frames, paddle.to_tensor(np.array(TRUE, np.uint8)), 1, 2, 0)
    share = mixup_share(0.2, 7, 1, 2, 0) if alpha else 1.0
    partner = (1, 0, 0)
    targets = [[share * a + (1 - share) * b for a, b in zip(TRUE[i], TRUE[partner[i]])] for i in range(3)]
    expected = sum(cross_entropy(z, t, weights or (1, 1, 1)) for z, t in zip(LOGITS, targets))
    assert float(losses(paddle.to_tensor(LOGITS))) == pytest.approx(expected, rel=1e-6)


def test_an_epoch_has_the_sums_of_its_batches():
    seen, true = SEEN["multi"], np.array(TRUE, np.uint8)
    sums = seen.of_batch(paddle.to_tensor(LOGITS), paddle.to_tensor(true))
    own = seen.counts(3, *(one.item() for one in sums))
    batch = ManyCounts()
    batch.update(np.array(LOGITS, np.float32), true)
    assert own.means == pytest.approx(batch.means) and (own.right, own.named, own.true) == (3, 6, 3)
    assert own.means["loss"] == pytest.approx(sum(map(cross_entropy, LOGITS, TRUE)) / 3, rel=1e-6)
    assert seen.chance(50) == math.log(2)

"""Parts of a recipe that a run is built from: what is trained, with which optimizer, to which loss.

Each does nothing unless its key of TRAIN asks for it; the learning rate is in training/schedule.py, the order of the
videos in reader/sampling.py.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from utils.config.train_keys import TrainConfig


def freeze_stages(model: paddle.nn.Layer, number: int) -> None:
    """Take the first `number` stages of the model's ResNet out of training: the stem, then its four groups of blocks.

    They get no gradient; that their BatchNorm keeps its statistics is up to Amp.set_training_mode.
    """
    for layer in sum(model.backbone.stages()[:number], []):
        for parameter in layer.parameters():
            parameter.stop_gradient = True


def build_optimizer(model: paddle.nn.Layer, train: TrainConfig) -> paddle.optimizer.Momentum:
    """SGD with momentum for all parameters that are trained: v = momentum * v + g; w -= rate * v.

    nesterov: w -= rate * (g + momentum * v) (Sutskever et al., https://proceedings.mlr.press/v28/sutskever13.html).
    g is the gradient plus l2_weight_decay * w. no_decay_on_bn_and_bias: not of parameters with one dimension, which
    are BatchNorm's and the classifier's bias (He et al., https://arxiv.org/abs/1812.01187, section 3.1; PP-TSN).
    clip_gradient_norm: with n the length of the gradient of all parameters as one vector, before the penalty is added,
    each is multiplied by clip / max(n, clip) (Pascanu et al., https://arxiv.org/abs/1211.5063; 40 in mmaction2's TSN).
    classifier_learning_rate: a factor of the rate for the classifier's weight, twice that for its bias (PP-TSN: 5, 10).
    """
    for name, parameter in model.named_parameters():  # BatchNorm's statistics are among them, but not trained
        of_one_dimension = parameter.ndim == 1
        if train.no_decay_on_bn_and_bias and of_one_dimension:
            parameter.regularizer = paddle.regularizer.L2Decay(0.0)
        if train.classifier_learning_rate is not None and name.startswith(model.classifier_prefix):
            factor = train.classifier_learning_rate * (2 if of_one_dimension else 1)
            parameter.optimize_attr = {"learning_rate": factor}
    # All in one group: Paddle would clip every group by itself.
    return paddle.optimizer.Momentum(
        learning_rate=train.learning_rate,
        momentum=train.momentum,
        parameters=model.parameters(),
        use_nesterov=train.nesterov,
        weight_decay=paddle.regularizer.L2Decay(train.l2_weight_decay),
        grad_clip=paddle.nn.ClipGradByGlobalNorm(train.clip_gradient_norm) if train.clip_gradient_norm else None,
        use_multi_tensor=train.amp != "O2",  # one call for all of them; a GPU's has no bfloat16
    )


class Objective:
    """What a step makes smaller: cross-entropy, its targets smoothed, and the videos of a batch mixed in pairs."""

    def __init__(
        self, seed: int, label_smoothing: float = 0.0, mixup_alpha: float = 0.0, weights: Sequence[float] = ()
    ):
        """weights: by class, what its losses are multiplied by, see `class_weights`; none of them: all by 1."""
        self._seed, self._smoothing, self._alpha = seed, label_smoothing, mixup_alpha
        self._weights = paddle.to_tensor(weights, "float32") if len(weights) else None  # [K]
        self._partners: dict[int, Tensor] = {}  # by number of videos: a copy to a GPU would have each step wait for it

    def __call__(
        self, frames: Tensor, labels: Tensor, epoch: int, step: int, number: int
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return (frames for the model, the function from its logits float32 [N, K] to the sum of the N losses).

        frames uint8 [N, ...] and labels [N] are this rank's part of batch `number` of the step. mixup_alpha: both are
        mixed with those of each video's partner, share * own + (1 - share) * partner's, frames as float32 (Zhang et
        al., https://arxiv.org/abs/1710.09412). The network normalises the mixture, which is the mixture of the
        normalised.
        """
        if not self._alpha:
            return frames, lambda logits: self._losses(logits, labels)
        share = mixup_share(self._alpha, self._seed, epoch, step, number)
        partner = self._partners_of(len(labels))
        frames = frames.astype("float32")
        others = paddle.index_select(labels, partner)
        mixed = share * frames + (1 - share) * paddle.index_select(frames, partner)
        return mixed, lambda logits: share * self._losses(logits, labels) + (1 - share) * self._losses(logits, others)

    def _partners_of(self, number: int) -> Tensor:
        if number not in self._partners:
            self._partners[number] = paddle.to_tensor(partners(number))
        return self._partners[number]

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum over the videos of the cross-entropy to 1 - s + s/K for the true class and s/K for all others.

        s: label_smoothing (Szegedy et al., https://arxiv.org/abs/1512.00567, section 7). Each video's is multiplied by
        the weight of its class. The loop divides by the number of videos, not by the sum of their weights, so that what
        a video counts for does not depend on the others of its batch.
        """
        if self._weights is None:
            return F.cross_entropy(logits, labels, reduction="sum", label_smoothing=self._smoothing)
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self._smoothing)
        return (losses.flatten() * paddle.index_select(self._weights, labels)).sum()


def class_weights(asked: str | Sequence[float], labels: Iterable[int], num_classes: int) -> Sequence[float]:
    """Return a number for each class by TRAIN.class_weights, () for none.

    balanced: n / (c * n_k), with n_k of the n videos of class k and c classes that have any: scikit-learn's formula
    (sklearn.utils.class_weight). In the mean over the list it is 1, so that the learning rate fits as before. A class
    without a video has 1.
    """
    if asked != "balanced":
        return () if asked == "none" else asked
    counts = Counter(labels)
    return [counts.total() / (len(counts) * counts[k]) if counts[k] else 1.0 for k in range(num_classes)]


def mixup_share(alpha: float, seed: int, epoch: int, step: int, number: int) -> float:
    """Return a draw from Beta(alpha, alpha), the same on every rank."""
    return float(np.random.default_rng([seed, epoch, step, number, 0x319]).beta(alpha, alpha))


def partners(number: int) -> list[int]:
    """For each of `number` videos the one it is mixed with: its neighbour; of an odd number the last takes the first.

    As the order of the videos is random, so are the pairs; and where each rank has an even number of videos, they are
    the same for any number of ranks.
    """
    return [i ^ 1 if i ^ 1 < number else 0 for i in range(number)]

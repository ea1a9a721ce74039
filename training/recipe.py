"""Build the parts of a training recipe: the trained parameters, the optimizer and the loss.

Each part does nothing unless its key of TRAIN is set. The learning rate is in training/schedule.py, and the order of
the videos in reader/sampling.py.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor

from utils.config.train_keys import TrainConfig


def freeze_stages(model: paddle.nn.Layer, number: int) -> None:
    """Exclude the first `number` stages of the model's ResNet from training: the stem, then its four groups of blocks.

    They get no gradient. Amp.set_training_mode makes their BatchNorm keep its statistics.
    """
    for layer in sum(model.backbone.stages()[:number], []):
        for parameter in layer.parameters():
            parameter.stop_gradient = True


def build_optimizer(model: paddle.nn.Layer, train: TrainConfig) -> paddle.optimizer.Momentum:
    """Return SGD with momentum for all trained parameters: v = momentum * v + g; w -= rate * v.

    nesterov: w -= rate * (g + momentum * v) (Sutskever et al., https://proceedings.mlr.press/v28/sutskever13.html).
    g is the gradient plus l2_weight_decay * w. no_decay_on_bn_and_bias: no decay for parameters with one dimension,
    which are BatchNorm's and the classifier's bias (He et al., https://arxiv.org/abs/1812.01187, section 3.1; PP-TSN).
    clip_gradient_norm: each gradient is multiplied by clip / max(n, clip), where n is the length of all gradients as
    one vector, before decay is added (Pascanu et al., https://arxiv.org/abs/1211.5063; 40 in mmaction2's TSN).
    classifier_learning_rate: a factor of the rate for the classifier's weight; its bias gets twice that (PP-TSN: 5,
    10).
    """
    for name, parameter in model.named_parameters():  # includes BatchNorm's statistics, which are not trained
        of_one_dimension = parameter.ndim == 1
        if train.no_decay_on_bn_and_bias and of_one_dimension:
            parameter.regularizer = paddle.regularizer.L2Decay(0.0)
        if train.classifier_learning_rate is not None and name.startswith(model.classifier_prefix):
            factor = train.classifier_learning_rate * (2 if of_one_dimension else 1)
            parameter.optimize_attr = {"learning_rate": factor}
    # One group for all, because Paddle would clip each group separately.
    return paddle.optimizer.Momentum(
        learning_rate=train.learning_rate,
        momentum=train.momentum,
        parameters=model.parameters(),
        use_nesterov=train.nesterov,
        weight_decay=paddle.regularizer.L2Decay(train.l2_weight_decay),
        grad_clip=paddle.nn.ClipGradByGlobalNorm(train.clip_gradient_norm) if train.clip_gradient_norm else None,
        use_multi_tensor=train.amp != "O2",  # one call for all of them; on a GPU it does not support bfloat16
    )


class Objective:
    """The training loss: cross-entropy, with smoothed targets, and with a batch's videos mixed in pairs."""

    def __init__(
        self, seed: int, label_smoothing: float = 0.0, mixup_alpha: float = 0.0, weights: Sequence[float] = ()
    ):
        """weights: factors for each class's losses, see `class_weights`; empty: all 1."""
        self._seed, self._smoothing, self._alpha = seed, label_smoothing, mixup_alpha
        self._weights = paddle.to_tensor(weights, "float32") if len(weights) else None  # [K]
        self._partners: dict[int, Tensor] = {}  # by number of videos; copying them to a GPU would make each step wait

    def __call__(
        self, frames: Tensor, labels: Tensor, epoch: int, step: int, number: int
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return (frames for the model, a function from its logits float32 [N, K] to the sum of the N losses).

        frames uint8 [N, ...] and labels [N] are this rank's part of batch `number` of the step. mixup_alpha: mix frames
        and labels with those of each video's partner, share * own + (1 - share) * partner's, with frames as float32
        (Zhang et al., https://arxiv.org/abs/1710.09412). The network normalises the mixture, which equals the mixture
        of normalised frames.
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
        """Return the videos' sum of the cross-entropy to 1 - s + s/K for the true class and s/K for the others.

        s: label_smoothing (Szegedy et al., https://arxiv.org/abs/1512.00567, section 7). Each video's loss is
        multiplied by its class's weight. The loop divides by the number of videos, not by the sum of their weights, so
        that a video's influence does not depend on the others in its batch.
        """
        if self._weights is None:
            return F.cross_entropy(logits, labels, reduction="sum", label_smoothing=self._smoothing)
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self._smoothing)
        return (losses.flatten() * paddle.index_select(self._weights, labels)).sum()


def class_weights(asked: str | Sequence[float], labels: Iterable[int], num_classes: int) -> Sequence[float]:
    """Return a weight for each class by TRAIN.class_weights; () for none.

    balanced: n / (c * n_k), where n_k of the n videos have class k, and c classes have videos: scikit-learn's formula
    (sklearn.utils.class_weight). The mean over the list is 1, so the learning rate still fits. A class without videos
    has weight 1.
    """
    if asked != "balanced":
        return () if asked == "none" else asked
    counts = Counter(labels)
    return [counts.total() / (len(counts) * counts[k]) if counts[k] else 1.0 for k in range(num_classes)]


def mixup_share(alpha: float, seed: int, epoch: int, step: int, number: int) -> float:
    """Return a draw from Beta(alpha, alpha), the same on every rank."""
    return float(np.random.default_rng([seed, epoch, step, number, 0x319]).beta(alpha, alpha))


def partners(number: int) -> list[int]:
    """Return each video's partner for mixing: its neighbour. With an odd number, the last video's partner is the first.

    The order of the videos is random, so the pairs are too. If each rank has an even number of videos, the pairs are
    the same for any number of ranks.
    """
    return [i ^ 1 if i ^ 1 < number else 0 for i in range(number)]

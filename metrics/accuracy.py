"""Loss, top-1 and top-5 as sums over videos: exact, however the videos are split into batches."""

from dataclasses import dataclass

import numpy as np

from utils.errors import RunError


def check_finite(logits: np.ndarray) -> None:
    """Raise RunError if an output of the network is not finite: it must not name a class."""
    if not np.isfinite(logits).all():
        raise RunError("the network's output is not finite: its training diverged, or its weights are damaged")


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log(softmax) along the last axis, float64, of logits [N, K]."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return softmax along the last axis, float64, of logits [N, K]. Raise RunError if a logit is not finite."""
    check_finite(logits)
    return np.exp(log_softmax(logits))


def true_class_rank(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the rank int64 [N] of the true class (1 = the highest logit).

    If logits are equal, the lower class id ranks first.
    """
    true = np.take_along_axis(logits, labels[:, None], axis=1)  # [N, 1]
    before = (logits > true) | ((logits == true) & (np.arange(logits.shape[1]) < labels[:, None]))
    return 1 + before.sum(axis=1)


def top_classes(logits: np.ndarray, k: int) -> np.ndarray:
    """Return the class ids int64 [N, k] by descending logit; if logits are equal, the lower class id comes first."""
    return np.argsort(-logits, axis=1, kind="stable")[:, :k]


@dataclass
class Accuracy:
    """Sums over the videos seen so far. `+` adds the sums of several processes."""

    videos: int = 0
    loss_sum: float = 0.0
    top1: int = 0
    top5: int = 0
    num_classes: int = 0  # 0: no video yet

    def update(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Add a batch: logits [N, K], labels int64 [N] in 0..K-1. Raises RunError if a logit is not finite."""
        check_finite(logits)
        log_probabilities = log_softmax(logits)
        rank = true_class_rank(logits, labels)
        self.videos += len(labels)
        self.loss_sum -= float(np.take_along_axis(log_probabilities, labels[:, None], axis=1).sum())
        self.top1 += int((rank <= 1).sum())
        self.top5 += int((rank <= 5).sum())
        self.num_classes = logits.shape[1]

    def add(self, row: dict) -> None:
        """Add a video's row: its "loss" in nats and the "rank" of its true class (1 = the best)."""
        self.videos += 1
        self.loss_sum += row["loss"]
        self.top1 += row["rank"] <= 1
        self.top5 += row["rank"] <= 5

    def __add__(self, other: "Accuracy") -> "Accuracy":
        return Accuracy(
            videos=self.videos + other.videos,
            loss_sum=self.loss_sum + other.loss_sum,
            top1=self.top1 + other.top1,
            top5=self.top5 + other.top5,
            num_classes=max(self.num_classes, other.num_classes),  # one of the two may have no videos
        )

    @property
    def means(self) -> dict[str, float]:
        """The loss (nats per video), top1_acc and, with more than 5 classes, top5_acc (percent).

        They are NaN before the first video. With 5 classes or fewer top5_acc is left out: it would always be 100.
        """
        videos = self.videos or float("nan")
        means = {"loss": self.loss_sum / videos, "top1_acc": 100 * self.top1 / videos}
        if self.num_classes > 5:
            means["top5_acc"] = 100 * self.top5 / videos
        return means

"""Metrics of videos with many labels: loss, average precision, F1, and the threshold of each class."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metrics.accuracy import check_finite
from metrics.sums import UNREADABLE_KEPT, Scored, Unreadable

# The threshold of a class about which validation says nothing.
THRESHOLD = 0.5


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities, float32, of logits of any shape. Raise RunError if a logit is not finite."""
    check_finite(logits)
    small = np.exp(-np.abs(logits.astype(np.float64)))
    return (np.where(logits < 0, small, 1) / (1 + small)).astype(np.float32)


def binary_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the loss float64 [N] in nats, the mean over the classes, of logits and labels (0 or 1) [N, K]."""
    logits = logits.astype(np.float64)
    return (np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))).mean(axis=1)


def _ranked(scores: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (distinct scores, descending; the number at least as high; how many of these are true) of two [N]."""
    order = np.argsort(-scores, kind="stable")
    scores = scores[order]
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # the last one of equal scores
    return scores[ends], ends + 1, np.cumsum(true[order], dtype=np.int64)[ends]


def average_precision(scores: np.ndarray, true: np.ndarray) -> float:
    """Return the average precision in percent of scores [N] and whether each is true [N]; NaN if none is true.

    It is the sum over the scores, from the highest down, of (recall - previous recall) * precision. As in
    scikit-learn's average_precision_score, there is no interpolation, and equal scores count together.
    """
    if not true.any():
        return float("nan")
    _, named, right = _ranked(scores, true)
    return float(100 * (np.diff(right, prepend=0) * (right / named)).sum() / right[-1])


def best_threshold(scores: np.ndarray, true: np.ndarray) -> float:
    """Return the threshold with the highest F1, rounded to 6 digits; THRESHOLD if none is true.

    It lies halfway between two scores, because it will be applied to other videos. If several thresholds have the same
    F1, it is the highest.
    """
    if not true.any():
        return THRESHOLD
    scores, named, right = _ranked(scores, true)
    best = int(np.argmax(2 * right / (named + right[-1])))
    below = scores[best + 1] if best + 1 < len(scores) else 0.0
    return float(f"{(float(scores[best]) + float(below)) / 2:.6g}")


@dataclass
class ManyCounts:
    """Sums over the videos seen so far, each class named from THRESHOLD on. `+` adds the sums of several processes."""

    videos: int = 0
    loss_sum: float = 0.0
    right: int = 0  # classes that are named and true
    named: int = 0
    true: int = 0

    def update(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Add a batch: logits and labels (0 or 1) [N, K]. Raise RunError if a logit is not finite."""
        check_finite(logits)
        named = logits >= 0
        self.videos += len(labels)
        self.loss_sum += float(binary_cross_entropy(logits, labels).sum())
        self.right += int((named & (labels > 0)).sum())
        self.named += int(named.sum())
        self.true += int(labels.sum())

    def __add__(self, other: "ManyCounts") -> "ManyCounts":
        return ManyCounts(*(a + b for a, b in zip(vars(self).values(), vars(other).values())))

    @property
    def means(self) -> dict[str, float]:
        """The loss (nats per video and class) and f1 (percent, over all classes); NaN before the first video."""
        videos = self.videos or float("nan")
        return {"loss": self.loss_sum / videos, "f1": 200 * self.right / ((self.named + self.true) or float("nan"))}


@dataclass(frozen=True)
class ManyClass(Scored):
    """The counts of a class: its videos, how often it was named from its threshold on, and how often rightly."""

    videos: int
    named: int
    right: int
    threshold: float
    average_precision: float  # percent; NaN without a video


class ManyScores:
    """The probabilities and labels of all videos, which average precision needs: K * 5 bytes a video.

    Rows: {"labels": ids, "probabilities": [K], "loss"}, or {"video", "error"}.
    """

    def __init__(self, num_classes: int):
        self.num_classes, self.loss_sum, self.unreadable = num_classes, 0.0, Unreadable(UNREADABLE_KEPT)
        self._probabilities, self._labels = array("f"), bytearray()

    @classmethod
    def of(cls, probabilities: np.ndarray, labels: np.ndarray) -> "ManyScores":
        """Return the scores of probabilities and labels (0 or 1) [N, K], with a loss of 0 because it is unknown."""
        scores = cls(labels.shape[1])
        scores._probabilities.frombytes(probabilities.astype(np.float32).tobytes())
        scores._labels += labels.astype(np.uint8).tobytes()
        return scores

    def add(self, row: dict) -> None:
        """Add a video's row."""
        if "error" in row:
            self.unreadable.add(row)
            return
        self.loss_sum += row["loss"]
        self._probabilities.extend(row["probabilities"])
        labels = bytearray(self.num_classes)
        for one in row["labels"]:
            labels[one] = 1
        self._labels += labels

    def __add__(self, other: "ManyScores") -> "ManyScores":
        total = ManyScores(max(self.num_classes, other.num_classes))
        total.loss_sum = self.loss_sum + other.loss_sum
        for part in (self, other):
            total._probabilities.extend(part._probabilities)
            total._labels += part._labels
        return total

    @property
    def videos(self) -> int:
        """The number of videos that were read."""
        return len(self._labels) // self.num_classes if self.num_classes else 0

    @property
    def probabilities(self) -> np.ndarray:
        """The probabilities, float32 [N, K]."""
        return np.frombuffer(self._probabilities, np.float32).reshape(-1, self.num_classes)

    @property
    def labels(self) -> np.ndarray:
        """The labels, uint8 [N, K], 0 or 1."""
        return np.frombuffer(bytes(self._labels), np.uint8).reshape(-1, self.num_classes)

    def columns(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (probabilities [N], labels [N]) of each class."""
        return list(zip(self.probabilities.T, self.labels.T))

    @property
    def means(self) -> dict[str, float]:
        """The loss (nats per video and class), mAP over the classes that have videos, and mAP_micro (percent).

        mAP_micro: the average precision over the answers of all classes, ranked together.
        """
        if not self.videos:
            return dict.fromkeys(("loss", "mAP", "mAP_micro"), float("nan"))
        found = [average_precision(scores, true) for scores, true in self.columns() if true.any()]
        return {
            "loss": self.loss_sum / self.videos,
            "mAP": float(np.mean(found)) if found else float("nan"),
            "mAP_micro": average_precision(self.probabilities.ravel(), self.labels.ravel()),
        }

    def thresholds(self) -> list[float]:
        """Return the threshold of each class that gives the highest F1 on these videos."""
        return [best_threshold(scores, true) for scores, true in self.columns()]

    def classes(self, thresholds: Sequence[float]) -> list[ManyClass]:
        """Return the counts of each class, named from its threshold on."""
        found = []
        for (scores, true), threshold in zip(self.columns(), thresholds, strict=True):
            named = scores >= threshold
            counts = int(true.sum()), int(named.sum()), int((named & (true > 0)).sum())
            found.append(ManyClass(*counts, threshold, average_precision(scores, true)))
        return found

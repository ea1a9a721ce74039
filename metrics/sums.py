"""The sums over the rows of an evaluation; their size grows with the number of classes, not of rows."""

import heapq
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from metrics.accuracy import Accuracy

# The number of bins of equal width in Guo et al., "On Calibration of Modern Neural Networks", 2017.
BINS = 15
# How many of the most confident mistakes and of the unreadable videos are kept, so that a page stays below 10 MB.
MISTAKES_KEPT, UNREADABLE_KEPT, REASONS_KEPT = 24, 100, 100
# The 97.5 % point of the normal distribution, for an interval of 95 %.
_Z = 1.959963984540054


def wilson(right: float, videos: int, different: float | None = None) -> tuple[float, float]:
    """Return Wilson's score interval of 95 %, in percent, for the share `right` / `videos`; (0, 100) without videos.

    different: the number of distinct videos, if some came more than once: a repeated video tells nothing new.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if not videos:
        return 0.0, 100.0
    share, z2, number = right / videos, _Z**2, different or videos
    centre = share + z2 / (2 * number)
    half = _Z * math.sqrt(share * (1 - share) / number + z2 / (4 * number**2))
    scale = 100 / (1 + z2 / number)
    # At the ends the exact results are 0 and 100, but the formula rounds.
    low = scale * (centre - half) if right else 0.0
    high = scale * (centre + half) if right < videos else 100.0
    return low, high


class Scored:
    """A class with counts: `videos` of it, `named` for how often it was named, `right` for how often rightly."""

    @property
    def scores(self) -> dict[str, float]:
        """Precision, recall and F1 in percent; 0 if it was never named right."""
        return {
            "precision": 100 * self.right / max(self.named, 1),
            "recall": 100 * self.right / max(self.videos, 1),
            "f1": 200 * self.right / max(self.named + self.videos, 1),
        }


def mean_scores(classes: Iterable[Scored]) -> dict[str, float]:
    """Return the means of precision, recall and F1 over the classes with videos, in percent; 0 if there are none."""
    scores = [found.scores for found in classes if found.videos]
    return {key: math.fsum(one[key] for one in scores) / max(len(scores), 1) for key in ("precision", "recall", "f1")}


@dataclass
class ClassSums(Scored):
    """The counts of a class: its videos, those named right (first, or among five), and how often it was named."""

    videos: int = 0
    right: int = 0
    in_top5: int = 0
    named: int = 0


@dataclass
class Bin:
    """Sums over the videos whose named class has a probability in this bin."""

    videos: int = 0
    right: int = 0
    probability_sum: float = 0.0


@dataclass
class Unreadable:
    """The number of unreadable videos, the reasons, and the first of them as (video, error)."""

    kept: int
    number: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)  # the count of each error, REASONS_KEPT errors at most

    def add(self, row: dict) -> None:
        self.number += 1
        if row["error"] in self.reasons or len(self.reasons) < REASONS_KEPT:
            self.reasons[row["error"]] += 1
        if len(self.first) < self.kept:
            self.first.append((row["video"], row["error"]))


class EvaluationSums:
    """Adds up the rows of an evaluation; the same rows in the same order give the same sums to the last bit.

    A row is {"position", "video", "label", "predicted_class", "probability", "rank", "true_probability", "loss"} or
    {"position", "video", "error"}.
    """

    def __init__(self, num_classes: int, mistakes: int = MISTAKES_KEPT, unreadable: int = UNREADABLE_KEPT):
        """Start at zero; keep this many of the most confident mistakes and of the unreadable videos."""
        self.accuracy = Accuracy(num_classes=num_classes)
        self.classes: dict[int, ClassSums] = {}
        self.confused: Counter[tuple[int, int]] = Counter()  # (true, named), where they differ
        self.bins = [Bin() for _ in range(BINS)]
        self.unreadable = Unreadable(unreadable)
        self._mistakes: list[tuple[float, int, dict]] = []
        self._kept = mistakes

    def add(self, row: dict) -> None:
        if "error" in row:
            self.unreadable.add(row)
            return
        true, named, probability = row["label"], row["predicted_class"], row["probability"]
        right = true == named
        self.accuracy.add(row)
        sums = self.of(true)
        sums.videos, sums.right, sums.in_top5 = sums.videos + 1, sums.right + right, sums.in_top5 + (row["rank"] <= 5)
        self.of(named).named += 1
        found = self.bins[min(int(probability * BINS), BINS - 1)]
        found.videos, found.right = found.videos + 1, found.right + right
        found.probability_sum += probability
        if not right:
            self.confused[true, named] += 1
            # Among equally confident mistakes, the first in the list stay. Positions are unique: rows are not compared.
            heapq.heappush(self._mistakes, (probability, -row["position"], row))
            if len(self._mistakes) > self._kept:
                heapq.heappop(self._mistakes)

    def of(self, label: int) -> ClassSums:
        return self.classes.setdefault(label, ClassSums())

    @property
    def means(self) -> dict[str, float]:
        return self.accuracy.means

    @property
    def videos(self) -> int:
        return self.accuracy.videos

    @property
    def right(self) -> int:
        return self.accuracy.top1

    @property
    def in_top5(self) -> int:
        return self.accuracy.top5

    def named(self, true: int, other: int) -> int:
        """Return how many videos of the class `true` were named `other`, which may be the same class."""
        return self.classes[true].right if true == other else self.confused[true, other]

    @property
    def mistakes(self) -> list[dict]:
        """The rows of the most confident mistakes, most confident first."""
        return [row for *_, row in sorted(self._mistakes, key=lambda kept: kept[:2], reverse=True)]

    @property
    def class_means(self) -> dict[str, float]:
        """The means of precision, recall (mean class accuracy) and F1 over the classes with videos, in percent."""
        means = mean_scores(self.classes.values())
        return {"mean_class_acc": means["recall"], "mean_precision": means["precision"], "mean_f1": means["f1"]}

    @property
    def calibration_error(self) -> float:
        """Expected calibration error in percent: the mean over the videos of |accuracy - confidence| in their bin."""
        if not self.videos:
            return math.nan
        return 100 * sum(abs(found.right - found.probability_sum) for found in self.bins) / self.videos

    def troubled(self, number: int) -> list[int]:
        """Return the `number` classes in most confusions, as the true or the named class, sorted by class id."""
        part: Counter[int] = Counter()
        for (true, named), count in self.confused.items():
            part[true] += count
            part[named] += count
        order = sorted(self.classes, key=lambda k: (-part[k], -self.classes[k].videos, k))
        return sorted(order[:number])


def sum_rows(rows: Iterable[dict], num_classes: int) -> EvaluationSums:
    """Return the sums over the rows, added in order."""
    sums = EvaluationSums(num_classes)
    for row in rows:
        sums.add(row)
    return sums

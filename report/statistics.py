"""The sums over the rows of an evaluation: as large as the classes are many, however many rows there are."""

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field

# Guo et al., "On Calibration of Modern Neural Networks", 2017: as many bins of equal width.
BINS = 15
# The 97.5 % point of the normal distribution, of an interval of 95 %.
_Z = 1.959963984540054


def wilson(right: int, videos: int) -> tuple[float, float]:
    """The 95 % interval, in percent, of a share of which `right` of `videos` were counted: Wilson's score interval.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927. (0, 100) without videos.
    """
    if not videos:
        return 0.0, 100.0
    share, z2 = right / videos, _Z**2
    centre = share + z2 / (2 * videos)
    half = _Z * math.sqrt(share * (1 - share) / videos + z2 / (4 * videos**2))
    scale = 100 / (1 + z2 / videos)
    # At the ends the formula gives 0 and 100 exactly, but rounds.
    low = scale * (centre - half) if right else 0.0
    high = scale * (centre + half) if right < videos else 100.0
    return low, high


@dataclass
class ClassSums:
    """Of one class: its videos, how many of them were named right (first, or among five), how often it was named."""

    videos: int = 0
    right: int = 0
    in_top5: int = 0
    named: int = 0


@dataclass
class Bin:
    """The videos whose named class has a probability in this bin."""

    videos: int = 0
    right: int = 0
    probability_sum: float = 0.0


@dataclass
class Unreadable:
    """How many videos could not be read, and the first of them as (video, error)."""

    kept: int
    number: int = 0
    first: list[tuple[str, str]] = field(default_factory=list)

    def add(self, row: dict) -> None:
        self.number += 1
        if len(self.first) < self.kept:
            self.first.append((row["video"], row["error"]))


class EvaluationSums:
    """Adds up the rows of an evaluation, each {"position", "video", "label", "predicted_class", "probability", "rank",
    "true_probability", "loss"} or {"position", "video", "error"}."""

    def __init__(self, mistakes: int, unreadable: int):
        """So many of the most confident mistakes and of the unreadable videos are kept."""
        self.videos = 0
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
        self.videos += 1
        sums = self.of(true)
        sums.videos, sums.right, sums.in_top5 = sums.videos + 1, sums.right + right, sums.in_top5 + (row["rank"] <= 5)
        self.of(named).named += 1
        found = self.bins[min(int(probability * BINS), BINS - 1)]
        found.videos, found.right = found.videos + 1, found.right + right
        found.probability_sum += probability
        if not right:
            self.confused[true, named] += 1
            # Of equally confident ones the first of the list stay: no position occurs twice, so no row is compared.
            heapq.heappush(self._mistakes, (probability, -row["position"], row))
            if len(self._mistakes) > self._kept:
                heapq.heappop(self._mistakes)

    def of(self, label: int) -> ClassSums:
        return self.classes.setdefault(label, ClassSums())

    @property
    def right(self) -> int:
        return sum(sums.right for sums in self.classes.values())

    @property
    def in_top5(self) -> int:
        return sum(sums.in_top5 for sums in self.classes.values())

    @property
    def mistakes(self) -> list[dict]:
        """The rows of the most confident mistakes, the most confident first."""
        return [row for *_, row in sorted(self._mistakes, key=lambda kept: kept[:2], reverse=True)]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error in percent: the mean over the videos of |accuracy - confidence| in their bin."""
        if not self.videos:
            return math.nan
        return 100 * sum(abs(found.right - found.probability_sum) for found in self.bins) / self.videos

    def troubled(self, number: int) -> list[int]:
        """So many classes that take part in most confusions, as the true class or the named one, by class id."""
        part: Counter[int] = Counter()
        for (true, named), count in self.confused.items():
            part[true] += count
            part[named] += count
        order = sorted(self.classes, key=lambda k: (-part[k], -self.classes[k].videos, k))
        return sorted(order[:number])

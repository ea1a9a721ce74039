"""Statistics over several runs of one recipe: the mean, the standard deviation, and the interval of the mean."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# The 97.5 % points of Student's t distribution for 1, 2, ... degrees of freedom, "The Probable Error of a Mean", 1908.
_T = (
    12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139,
    2.200985, 2.178813, 2.160369, 2.144787, 2.131450, 2.119905, 2.109816, 2.100922, 2.093024,
)  # fmt: skip
MOST = len(_T) + 1


@dataclass(frozen=True)
class Repeated:
    """Percentages of 2 to MOST runs."""

    values: Sequence[float]

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """The standard deviation of the runs, with n - 1 in the denominator."""
        return statistics.stdev(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the mean by Student's t, within 0 and 100."""
        half = _T[len(self.values) - 2] * self.deviation / math.sqrt(len(self.values))
        return max(0.0, self.mean - half), min(100.0, self.mean + half)

"""Comparison of two runs over the same videos: which videos each has right, and whether it could be chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# The test is exact for up to this many videos on which two runs differ.
_EXACT = 1000


@dataclass(frozen=True)
class Paired:
    """The numbers of videos that two runs, A and B, have right."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def p_value(self) -> float:
        """McNemar's test: the probability of a difference this large if neither run is better than the other.

        McNemar, "Note on the sampling error of the difference between correlated proportions", 1947. If up to 1000
        videos are right in only one run, it is the two-sided binomial test; with more, chi-square with Edwards'
        correction.
        """
        differ, fewer = self.only_a + self.only_b, min(self.only_a, self.only_b)
        if differ <= _EXACT:
            return min(1.0, sum(math.comb(differ, k) for k in range(fewer + 1)) / 2 ** (differ - 1)) if differ else 1.0
        return math.erfc(max(0, differ - 2 * fewer - 1) / math.sqrt(2 * differ))

    def __str__(self) -> str:
        verdict = "not by chance, at a level of 5%" if self.p_value < 0.05 else "which may be chance"
        alone = f"only the first {self.only_a}, only the second {self.only_b}"
        return (
            f"both right {self.both}, {alone}, neither {self.neither}\n"
            f"  McNemar's test: p = {self.p_value:.2g}, {verdict}"
        )


def pair(right_a: Sequence[bool], right_b: Sequence[bool]) -> Paired:
    """Return the counts of two runs; each gives a value for every video, in the same order."""
    pairs = list(zip(right_a, right_b, strict=True))
    return Paired(*(pairs.count(values) for values in ((True, True), (True, False), (False, True), (False, False))))

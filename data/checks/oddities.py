"""What is unusual within many numbers, and which files are the same; all on arrays, for lists of any length."""

from typing import NamedTuple

import numpy as np

# Robust standard deviations from the median below which nothing is odd, however many times the median it is.
DEVIATIONS = 5.0
# What the median absolute deviation is multiplied with to estimate the standard deviation of a normal distribution.
_NORMAL = 1.4826


class Usual(NamedTuple):
    """The median and what lies around it; a value is odd from `low` down and from `high` up."""

    median: float
    low: float
    high: float

    def is_odd(self, values: np.ndarray) -> np.ndarray:
        """Return bool, of the shape of `values`; False for what is not known (NaN)."""
        return (values <= self.low) | (values >= self.high)


def usual(values: np.ndarray, factor: float) -> Usual:
    """Return where oddity begins.

    That is at `factor` times the median or one part of `factor`, or, if that is further away, at DEVIATIONS robust
    standard deviations of the logarithm. values: float [N], NaN where not known. A list that is of all kinds has a
    large deviation and nothing odd in it.
    """
    logs = np.log(values[np.isfinite(values) & (values > 0)])
    if not len(logs):
        return Usual(np.nan, -np.inf, np.inf)
    median = np.median(logs)
    distance = max(np.log(factor), DEVIATIONS * _NORMAL * np.median(np.abs(logs - median)))
    distance *= 1 - 1e-6  # half of the median is odd, whatever the rounding
    return Usual(*np.exp([median, median - distance, median + distance]).tolist())


def repeated(values: np.ndarray) -> np.ndarray:
    """Return bool [N]: whether the same value stands elsewhere as well."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[which] > 1


def first_of_each(values: np.ndarray) -> np.ndarray:
    """Return int [N]: the position at which each value stands for the first time."""
    _, first, which = np.unique(values, return_index=True, return_inverse=True)
    return first[which]

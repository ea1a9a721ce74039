"""Find unusual values and repeated values in arrays of any length."""

from typing import NamedTuple

import numpy as np

# A value within this many robust standard deviations of the median is never odd.
DEVIATIONS = 5.0
# The median absolute deviation times this estimates the standard deviation of a normal distribution.
_NORMAL = 1.4826


class Usual(NamedTuple):
    """The median and limits: a value is odd from `low` down and from `high` up."""

    median: float
    low: float
    high: float

    def is_odd(self, values: np.ndarray) -> np.ndarray:
        """Return bool in the shape of `values`; False for unknown values (NaN)."""
        return (values <= self.low) | (values >= self.high)


def usual(values: np.ndarray, factor: float) -> Usual:
    """Return the limits beyond which a value is odd.

    They are `factor` times the median and the median divided by `factor`, or DEVIATIONS robust standard deviations of
    the logarithm if that is further away. Lists with many kinds of videos have a large deviation and no odd values.
    values: float [N], NaN if unknown.
    """
    logs = np.log(values[np.isfinite(values) & (values > 0)])
    if not len(logs):
        return Usual(np.nan, -np.inf, np.inf)
    median = np.median(logs)
    distance = max(np.log(factor), DEVIATIONS * _NORMAL * np.median(np.abs(logs - median)))
    distance *= 1 - 1e-6  # so that exactly half of the median is odd, despite rounding
    return Usual(*np.exp([median, median - distance, median + distance]).tolist())


def repeated(values: np.ndarray) -> np.ndarray:
    """Return bool [N]: whether the value occurs more than once."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return counts[which] > 1


def first_of_each(values: np.ndarray) -> np.ndarray:
    """Return int [N]: the position of each value's first occurrence."""
    _, first, which = np.unique(values, return_index=True, return_inverse=True)
    return first[which]

"""Intervals of mAP, and of the difference between two networks, by drawing the videos again (bootstrap)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

# The number of draws. Above MOST_WORK videos * classes * draws there are fewer, which makes intervals coarser.
DRAWS, FEWEST_DRAWS, MOST_WORK = 1000, 100, 2_000_000_000
_AT_ONCE = 2_000_000  # counts of videos held in memory


@dataclass(frozen=True)
class Difference:
    """The mAP of two runs over the same videos, in percent, and the 95% interval of the first minus the second."""

    first: float
    second: float
    low: float
    high: float
    draws: int

    @property
    def may_be_chance(self) -> bool:
        return self.low <= 0 <= self.high

    def __str__(self) -> str:
        verdict = "which may be chance" if self.may_be_chance else "not by chance, at a level of 5%"
        return (
            f"mAP {self.first:.2f}% and {self.second:.2f}%, difference {self.first - self.second:+.2f}\n"
            f"  {self.draws} draws of the videos: 95% interval {self.low:+.2f} to {self.high:+.2f}, {verdict}"
        )


def drawn_maps(scores: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Return float64 [R, D]: the mAP in percent of R runs over D draws of as many videos, the same for all runs.

    scores: [N, K] of each run. labels: [N, K], 0 or 1. A draw's mAP is the mean over the classes with videos in the
    draw, or NaN if there are none. Efron, "Bootstrap methods: another look at the jackknife", 1979.
    """
    videos, known = len(labels), np.flatnonzero(labels.any(axis=0))
    draws = max(FEWEST_DRAWS, min(DRAWS, MOST_WORK // max(1, videos * len(known))))
    parts = [_maps(scores, labels, known, times) for times in _drawn(videos, draws)]
    return np.concatenate(parts, axis=1)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of the values [D] that are not NaN."""
    values = values[~np.isnan(values)]
    low, high = np.percentile(values, [2.5, 97.5]) if len(values) else (np.nan, np.nan)
    return float(low), float(high)


def difference(first: float, second: float, drawn_first: np.ndarray, drawn_second: np.ndarray) -> Difference:
    """Return the difference of two runs from their mAP over all videos and over the same draws [D]."""
    return Difference(first, second, *interval(drawn_first - drawn_second), len(drawn_first))


def _drawn(videos: int, draws: int) -> Iterator[np.ndarray]:
    """Yield how often each draw has each video, int64 [D, N] for D draws at a time, the same numbers every time."""
    random, step = np.random.default_rng(0), max(1, _AT_ONCE // videos)
    for first in range(0, draws, step):
        yield random.multinomial(videos, np.full(videos, 1 / videos), min(step, draws - first))


def _maps(scores: Sequence[np.ndarray], labels: np.ndarray, known: np.ndarray, times: np.ndarray) -> np.ndarray:
    found = np.full((len(scores), len(known), len(times)), np.nan)
    for own, of_run in zip(scores, found):
        for k, of_class in zip(known, of_run):
            of_class[:] = _average_precisions(own[:, k], labels[:, k] > 0, times)
    counted = ~np.isnan(found)
    with np.errstate(invalid="ignore"):
        return np.where(counted, found, 0).sum(axis=1) / counted.sum(axis=1)


def _average_precisions(scores: np.ndarray, true: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return each draw's average precision [D] in percent, as metrics/many.py does. times: [D, N] of each video."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # the last one of equal scores
    drawn = times[:, order]
    named = drawn.cumsum(axis=1)[:, ends]
    right = (drawn * true[order]).cumsum(axis=1)[:, ends]
    gained = np.diff(right, axis=1, prepend=0)
    with np.errstate(invalid="ignore"):
        return 100 * (gained * (right / np.maximum(named, 1))).sum(axis=1) / right[:, -1]

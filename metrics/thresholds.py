"""Two classes at every threshold: the curves, the areas below them, and the counts at a threshold."""

from collections.abc import Sequence

import numpy as np


class Thresholds:
    """The scores of videos with and without a class; a video is found if its score reaches the threshold."""

    def __init__(self, with_class: Sequence[float], without: Sequence[float]):
        """Take the scores, at least one of each kind."""
        self._with, self._without = np.sort(np.asarray(with_class, float)), np.sort(np.asarray(without, float))
        # The thresholds, descending: infinity, then each score.
        self.values = np.concatenate([[np.inf], np.unique([*self._with, *self._without])[::-1]])
        self._hits, self._false = self._found(self._with, self.values), self._found(self._without, self.values)

    @staticmethod
    def _found(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
        return len(scores) - np.searchsorted(scores, thresholds)

    def counts(self, threshold: float) -> tuple[int, int, int, int]:
        """Return the numbers of videos found rightly, found wrongly, missed, and rightly not found at a threshold."""
        hits, wrong = (int(self._found(scores, np.float64(threshold))) for scores in (self._with, self._without))
        return hits, wrong, len(self._with) - hits, len(self._without) - wrong

    @property
    def roc(self) -> np.ndarray:
        """Return float [M, 2]: false positive rate and true positive rate at each of `values`."""
        return np.stack([self._false / len(self._without), self._hits / len(self._with)], axis=1)

    @property
    def precision_recall(self) -> np.ndarray:
        """Return float [M - 1, 2]: recall and precision at each of `values` except the first, which finds nothing."""
        hits, wrong = self._hits[1:], self._false[1:]
        return np.stack([hits / len(self._with), hits / (hits + wrong)], axis=1)

    @property
    def area(self) -> float:
        """Return the area below the ROC curve: how often a video with the class scores above one without (ties: half).

        Fawcett, "An introduction to ROC analysis", 2006.
        """
        x, y = self.roc.T
        return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))

    @property
    def average_precision(self) -> float:
        """Return the mean of the precisions, each weighted by the recall that its threshold adds."""
        recall, precision = self.precision_recall.T
        return float(np.sum(np.diff(recall, prepend=0) * precision))

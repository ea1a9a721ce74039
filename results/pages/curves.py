"""Compute the curves over thresholds that the evaluation page draws for two classes."""

import json
from array import array
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from metrics.thresholds import Thresholds
from results.pages.charts import POINTS

# The side of a drawing in its own units, about pixels on a phone.
SIDE = 260


class TwoClasses:
    """The probabilities of both classes over the rows of an evaluation."""

    def __init__(self):
        self._scores = [(array("d"), array("d")) for _ in range(2)]  # for each class: videos of the class, other videos

    def add(self, row: dict) -> None:
        for k, (with_class, without) in enumerate(self._scores):
            score = row["probability"] if row["predicted_class"] == k else 1 - row["probability"]
            (with_class if row["label"] == k else without).append(score)

    def drawn(self, names: Sequence[str]) -> list[dict]:
        """Return the curves of each class, the rarer one first; [] if a class has no video."""
        if not all(map(len, self._scores[0])):
            return []
        order = sorted(range(2), key=lambda k: len(self._scores[k][0]))
        return [_drawn(k, names[k], Thresholds(*self._scores[k])) for k in order]


def _drawn(class_id: int, name: str, found: Thresholds) -> dict:
    counts = [found.counts(percent / 100) for percent in range(101)]
    with_class, without = counts[0][0], counts[0][1]
    return {
        "id": class_id,
        "name": name,
        "area": found.area,
        "average_precision": found.average_precision,
        "base": with_class / (with_class + without),
        "roc": _path(found.roc),
        "precision_recall": _path(found.precision_recall),
        "counts": Markup(json.dumps(counts, separators=(",", ":"))),
    }


def _path(points: np.ndarray) -> str:
    """Return the SVG path of a line through shares [M, 2], thinned to at most POINTS points."""
    few = points[np.unique(np.linspace(0, len(points) - 1, POINTS).round().astype(int))]
    return "M" + "L".join(f"{SIDE * x:.1f} {SIDE * (1 - y):.1f}" for x, y in few)

"""Of two classes what each threshold gives, as the page of an evaluation draws it."""

import json
from collections.abc import Sequence
from dataclasses import astuple

import numpy as np
from markupsafe import Markup

from metrics.thresholds import Thresholds
from results.pages.charts import POINTS

# A drawing's side in its own units, about pixels on a phone.
SIDE = 260


class TwoClasses:
    """The probabilities of both classes over the rows of an evaluation."""

    def __init__(self):
        self._scores = [([], []), ([], [])]  # of each class: with the class, without

    def add(self, row: dict) -> None:
        for k, (with_class, without) in enumerate(self._scores):
            score = row["probability"] if row["predicted_class"] == k else 1 - row["probability"]
            (with_class if row["label"] == k else without).append(score)

    def drawn(self, names: Sequence[str]) -> list[dict]:
        """Return for each class, the rarer one first, its curves; [] where one of them has no video."""
        if not all(map(len, self._scores[0])):
            return []
        order = sorted(range(2), key=lambda k: len(self._scores[k][0]))
        return [_drawn(k, names[k], Thresholds(*self._scores[k])) for k in order]


def _drawn(class_id: int, name: str, found: Thresholds) -> dict:
    counts = [astuple(found.counts(percent / 100)) for percent in range(101)]
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
    """Return the path of a line through shares [M, 2], of at most POINTS of them."""
    few = points[np.unique(np.linspace(0, len(points) - 1, POINTS).round().astype(int))]
    return "M" + "L".join(f"{SIDE * x:.1f} {SIDE * (1 - y):.1f}" for x, y in few)

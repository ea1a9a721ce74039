"""The page of an evaluation: how much is right, what is taken for what, and whether probabilities can be trusted."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from metrics.sums import EvaluationSums, wilson
from results.pages.charts import reliability_chart
from results.pages.page import Frames, never_fatal, pictures_of, shorten, write_page

# What a page holds at most: it stays below 10 MB for any number of videos.
MOST_CLASSES, MOST_PAIRS, MATRIX_SIDE = 2000, 20, 30


@never_fatal
def write_evaluation_page(
    path: Path,
    sums: EvaluationSums,
    metrics: Mapping[str, object],
    names: Sequence[str],
    facts: Mapping[str, object],
    frames: Frames,
) -> None:
    """Writes the page; a failure is one line on the screen.

    Args:
        sums: over the rows of all videos, in the order of the list.
        metrics: loss, top1_acc, top5_acc (not of 5 classes or fewer) and protocol, as in metrics.json.
        names: of the classes, by class id.
        facts: further lines about the run, such as its weights.
        frames: what the network saw; asked once, for the mistakes that are shown.
    """
    mistakes, names = sums.mistakes, [shorten(name, 60) for name in names]
    write_page(
        path,
        "evaluation.html",
        sums=sums,
        metrics=metrics,
        facts=facts,
        top1_interval=metrics.get("top1_interval") or wilson(sums.right, sums.videos),
        top5_interval=wilson(sums.in_top5, sums.videos),
        classes=_class_table(sums, names),
        most_classes=MOST_CLASSES,
        pairs=_pairs(sums, names),
        matrix=_matrix(sums, names),
        reliability=reliability_chart(sums.bins),
        mistakes=mistakes,
        pictures=pictures_of(frames, [row["position"] for row in mistakes]),
        names=names,
    )


def _class_table(sums: EvaluationSums, names: Sequence[str]) -> list[dict]:
    """A row for each class that has videos, the worst first; of too many those with most videos named wrongly."""
    confused: dict[int, tuple[int, int]] = {}  # class -> (how often, for which)
    for (true, named), count in sums.confused.items():
        confused[true] = max(confused.get(true, (0, 0)), (count, -named))
    labels = [label for label, found in sums.classes.items() if found.videos]
    labels = sorted(labels, key=lambda k: (sums.classes[k].right - sums.classes[k].videos, k))[:MOST_CLASSES]
    rows = []
    for label in labels:
        found = sums.classes[label]
        count, other = confused.get(label, (0, 0))
        rows.append(
            {
                "label": label,
                "name": names[label],
                "videos": found.videos,
                "top1": found.scores["recall"],
                "precision": found.scores["precision"],
                "f1": found.scores["f1"],
                "top5": 100 * found.in_top5 / found.videos,
                "interval": wilson(found.right, found.videos),
                "named": found.named,
                "confused": f"{names[-other]} ({count})" if count else "",
            }
        )
    return sorted(rows, key=lambda row: (row["top1"], row["label"]))


def _pairs(sums: EvaluationSums, names: Sequence[str]) -> list[dict]:
    """The most frequent confusions, as (true class, named class)."""
    order = sorted(sums.confused.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]
    return [
        {
            "true": names[true],
            "named": names[other],
            "count": count,
            "share": 100 * count / sums.classes[true].videos,
            "reverse": sums.confused[other, true],
        }
        for (true, other), count in order
    ]


def _matrix(sums: EvaluationSums, names: Sequence[str]) -> dict:
    """The confusion matrix of the classes that matter; what falls out of it is counted as `others`."""
    labels = sums.troubled(MATRIX_SIDE)
    rows = []
    for true in labels:
        found = sums.classes[true]
        counts = [sums.named(true, other) for other in labels]
        rows.append(
            {
                "name": names[true],
                "videos": found.videos,
                "cells": [(names[k], n, n / max(found.videos, 1), k == true) for k, n in zip(labels, counts)],
                "others": found.videos - sum(counts),
            }
        )
    return {"names": [names[label] for label in labels], "rows": rows, "whole": len(labels) == len(sums.classes)}

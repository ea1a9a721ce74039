"""Write the page of an evaluation: accuracy, confusions, and whether the probabilities can be trusted."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from metrics.sums import EvaluationSums, wilson
from results.pages.charts import reliability_chart
from results.pages.curves import SIDE, TwoClasses
from results.pages.page import Frames, never_fatal, pictures_of, shorten, write_page
from results.pages.video_rows import first_rows, millionths, table_of

# Limits that keep the page below 10 MB for any number of videos.
MOST_CLASSES, MOST_PAIRS, MATRIX_SIDE = 2000, 20, 30
# With this many classes or more, their table can be searched.
MANY = 12


@never_fatal
def write_evaluation_page(
    path: Path,
    rows: Iterable[dict],
    sums: EvaluationSums,
    metrics: Mapping[str, object],
    names: Sequence[str],
    facts: Mapping[str, object],
    frames: Frames,
    beside: Path | None = None,
) -> None:
    """Write the page; a failure is one line on the screen.

    Args:
        rows: of all videos, see inference/rows.py; read once.
        sums: over these rows, in the order of the list.
        metrics: loss, top1_acc, top5_acc (with more than 5 classes), as in metrics.json.
        names: the classes' names by class id.
        facts: further lines about the run, such as its protocol.
        frames: gives the frames that the network saw; called once, for the mistakes that are shown.
        beside: the page's folder, where links to videos start; None: no links.
    """
    mistakes, names = sums.mistakes, [shorten(name, 60) for name in names]
    two = TwoClasses()
    values = {
        "true": lambda row: row["label"],
        "named": lambda row: row["predicted_class"],
        "p": lambda row: millionths(row["probability"]),
        "right": lambda row: int(row["label"] == row["predicted_class"]),
    }
    # With two classes the other one's probability is 1 minus the first.
    if len(names) > 2:
        values |= {"q": lambda row: millionths(row["true_probability"]), "rank": lambda row: row["rank"]}
    kept = first_rows(_readable(rows, two if len(names) == 2 else None), _mistakes_first)
    largest = max(sums.classes, key=lambda k: (sums.classes[k].videos, -k))
    write_page(
        path,
        "evaluation.html",
        sums=sums,
        metrics=metrics,
        facts=facts,
        folder=beside,
        top1_interval=metrics.get("top1_interval") or wilson(sums.right, sums.videos),
        top5_interval=wilson(sums.in_top5, sums.videos),
        chance=100 / len(names),
        largest=(names[largest], 100 * sums.classes[largest].videos / sums.videos),
        classes=_class_table(sums, names),
        most_classes=MOST_CLASSES,
        many=MANY,
        matrix=_matrix(sums, names),
        pairs=_pairs(sums, names),
        two=two.drawn(names),
        side=SIDE,
        reliability=reliability_chart(sums.bins),
        table=table_of(kept, values, [(name, None) for name in names], beside, sums.videos),
        mistakes=mistakes,
        pictures=pictures_of(frames, [row["position"] for row in mistakes]),
        names=names,
    )


def _readable(rows: Iterable[dict], two: TwoClasses | None) -> Iterator[dict]:
    """Yield the rows of readable videos, and pass their probabilities to `two`."""
    for row in rows:
        if "error" not in row:
            if two:
                two.add(row)
            yield row


def _mistakes_first(row: dict) -> tuple:
    """Return a sort key: the most confident mistakes first, then right answers, the least sure first."""
    right = row["label"] == row["predicted_class"]
    return right, row["probability"] if right else -row["probability"], row["position"]


def _class_table(sums: EvaluationSums, names: Sequence[str]) -> list[dict]:
    """Return a row for each class with videos, the worst first.

    If there are too many, the classes with the most wrong videos are kept.
    """
    confused: dict[int, tuple[int, int]] = {}  # class -> (how often it is confused most, with which class)
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
    """Return the most frequent confusions."""
    order = sorted(sums.confused.items(), key=lambda item: (-item[1], item[0]))[:MOST_PAIRS]
    return [
        {
            "true": (true, names[true]),
            "named": (other, names[other]),
            "count": count,
            "share": 100 * count / sums.classes[true].videos,
            "reverse": sums.confused[other, true],
        }
        for (true, other), count in order
    ]


def _matrix(sums: EvaluationSums, names: Sequence[str]) -> dict:
    """Return the confusion matrix of the most confused classes; the remaining videos are counted as `others`."""
    labels = sums.troubled(MATRIX_SIDE)
    rows = []
    for true in labels:
        found = sums.classes[true]
        counts = [sums.named(true, other) for other in labels]
        rows.append(
            {
                "place": true,
                "name": names[true],
                "videos": found.videos,
                "cells": [(k, names[k], n, n / max(found.videos, 1), k == true) for k, n in zip(labels, counts)],
                "others": found.videos - sum(counts),
            }
        )
    return {
        "names": [(label, names[label]) for label in labels],
        "rows": rows,
        "whole": len(labels) == len(sums.classes),
    }

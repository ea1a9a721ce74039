"""Write the files of evaluation and prediction: JSON for programs, CSV for tables."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from metrics.many import ManyClass
from metrics.sums import EvaluationSums, wilson
from utils.storage.files import write_csv, write_stream


def write_predictions(folder: Path, rows: Iterable[dict]) -> int:
    """Write predictions.json and predictions.csv, a line per video and rank or per error. Return the number of errors.

    rows: in the order of the list, see inference/rows.py. Each file iterates over them; they are not kept.
    """
    results = ({key: value for key, value in row.items() if key not in ("position", "file")} for row in rows)
    write_stream(folder / "predictions.json", lambda file: (write_array(file, results), file.write("\n")))
    unreadable = 0

    def lines() -> Iterator[list]:
        nonlocal unreadable
        for row in rows:
            if "error" in row:
                unreadable += 1
                yield [row["video"], "", "", "", "", row["error"]]
            for rank, p in enumerate(row.get("predictions", ()), start=1):
                yield [row["video"], rank, p["class_id"], p["label"], p["probability"], ""]

    header = ["video", "rank", "class_id", "label", "probability", "error"]
    write_csv(folder / "predictions.csv", header, lines())
    return unreadable


def write_evaluation(
    folder: Path, rows: Iterable[dict], sums: EvaluationSums, metrics: dict, names: Sequence[str]
) -> None:
    """Write predictions.csv, confusion.csv and metrics.json: `metrics`, the unreadable videos, each class's accuracy.

    rows: in the order of the list, see inference/rows.py. Each file iterates over them; they are not kept.
    """
    header = ["video", "label", "predicted_class", "predicted_name", "probability", "rank", "true_probability"]
    write_csv(folder / "predictions.csv", header, ([row[key] for key in header] for row in rows if "error" not in row))

    # Only classes that occur: a table of all classes would grow with the square of num_classes.
    classes = sorted(sums.classes)
    table = ([names[true], *(sums.named(true, other) for other in classes)] for true in classes)
    write_csv(folder / "confusion.csv", ["true \\ predicted", *(names[k] for k in classes)], table)

    per_class = (
        {
            "class_id": k,
            "label": names[k],
            "videos": found.videos,
            "top1_acc": found.scores["recall"],
            "top1_interval": wilson(found.right, found.videos),
            **found.scores,
        }
        for k, found in sorted(sums.classes.items())
        if found.videos
    )
    write_metrics(folder, rows, metrics, per_class)


def write_many_evaluation(
    folder: Path, rows: Iterable[dict], classes: Sequence[ManyClass], metrics: dict, names: Sequence[str]
) -> None:
    """Write predictions.csv and metrics.json of an evaluation with many labels.

    predictions.csv has a line with the probability for each class that a video has or is given. rows: as in
    `write_evaluation`, see inference/label_kinds.py.
    """
    header = ["video", "class_id", "label", "true", "named", "probability", "threshold"]

    def lines():
        for row in rows:
            true = set(row.get("labels", ()))
            for k, probability in enumerate(row.get("probabilities", ())):
                named = probability >= classes[k].threshold
                if named or k in true:
                    flags = int(k in true), int(named)
                    yield [row["video"], k, names[k], *flags, probability, classes[k].threshold]

    write_csv(folder / "predictions.csv", header, lines())
    per_class = (
        {
            "class_id": k,
            "label": names[k],
            "videos": found.videos,
            "named": found.named,
            "average_precision": found.average_precision if found.videos else None,
            **found.scores,
            "threshold": found.threshold,
        }
        for k, found in enumerate(classes)
        if found.videos or found.named
    )
    write_metrics(folder, rows, metrics, per_class)


def write_metrics(folder: Path, rows: Iterable[dict], metrics: dict, per_class: Iterable[dict]) -> None:
    """Write metrics.json: `metrics`, the rows' unreadable videos, and the figures of each class."""
    unreadable = ({"video": row["video"], "error": row["error"]} for row in rows if "error" in row)

    def write(file: TextIO) -> None:
        file.write("{\n")
        for key, value in metrics.items():
            file.write(f" {json.dumps(key)}: {json.dumps(value)},\n")
        for key, items, end in (("unreadable", unreadable, ",\n"), ("per_class", per_class, "\n}\n")):
            file.write(f' "{key}": ')
            write_array(file, items, depth=1)
            file.write(end)

    write_stream(folder / "metrics.json", write)


def write_array(file: TextIO, items: Iterable[dict], depth: int = 0) -> None:
    """Write items as json.dump(list(items), file, indent=1) would, `depth` levels down in a document."""
    before = "\n" + " " * (depth + 1)
    separator = "["
    for item in items:
        file.write(separator + before + json.dumps(item, indent=1).replace("\n", before))
        separator = ","
    file.write("[]" if separator == "[" else "\n" + " " * depth + "]")

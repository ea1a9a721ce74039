"""The files that evaluation and prediction leave behind: JSON for programs, CSV for tables."""

import csv
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from metrics.accuracy import Accuracy, check_finite, log_softmax, top_classes
from reader.filelist import shorten
from utils.errors import InputError
from utils.files import write_stream
from utils.log import say

MAX_LABELS_BYTES = 10_000_000


def read_labels(path: str, num_classes: int) -> list[str]:
    """The names of the classes by class id.

    Raises:
        InputError: the file is missing or no JSON list of lines of text, or its length is not num_classes.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_LABELS_BYTES + 1)
        if len(content) > MAX_LABELS_BYTES:
            raise InputError(f"{path}: the label list is larger than {MAX_LABELS_BYTES} bytes")
        names = json.loads(content)
    except FileNotFoundError:
        raise InputError(f"{path}: no such label list (INFER.kinetics_labels)") from None
    except OSError as error:
        raise InputError(f"{path}: the label list cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: the label list is no JSON: {error}") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: the label list must be a JSON list of names")
    if len(names) != num_classes:
        raise InputError(f"{path}: {len(names)} labels, but MODEL.num_classes is {num_classes}")
    for k, name in enumerate(names):
        # Control characters would reach the terminal, lone surrogates (half of a pair) are in no encoding.
        if not name.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
            raise InputError(f"{path}: label {k} is no line of text: {shorten(name)}")
    return names


def class_names(path: str, num_classes: int) -> list[str]:
    """The names for tables: those of the label list, or the class ids where there is no such file.

    Raises:
        InputError: there is a label list, but not one of num_classes names.
    """
    if not os.path.exists(path):
        say(f"{path}: no such label list: classes are named by their number")
        return [str(k) for k in range(num_classes)]
    return read_labels(path, num_classes)


def top_predictions(logits: np.ndarray, names: Sequence[str], k: int) -> list[list[dict]]:
    """For each video of logits [N, K] its k best classes, best first: class_id, label, probability.

    Raises:
        RunError: a logit is not finite.
    """
    check_finite(logits)
    probabilities = np.exp(log_softmax(logits))
    return [
        [{"class_id": int(c), "label": names[c], "probability": float(row[c])} for c in classes]
        for row, classes in zip(probabilities, top_classes(logits, k))
    ]


def write_predictions(folder: Path, rows: Iterable[dict]) -> int:
    """Writes predictions.json and predictions.csv, of a line per video and rank or per error; returns the errors.

    rows: in the order of the list, see metrics/rows.py. They are iterated over for each file and not kept.
    """
    results = ({key: value for key, value in row.items() if key != "position"} for row in rows)
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


@dataclass
class Summary:
    """What an evaluation's rows add up to."""

    accuracy: Accuracy
    confusion: Counter[tuple[int, int]]  # (true class, predicted class) -> videos; only of those that occur
    unreadable: int = 0
    first_error: str = ""


def summarise(rows: Iterable[dict], num_classes: int) -> Summary:
    """The sums over the rows, taken one after the other: the same to the last bit for the same rows."""
    summary = Summary(Accuracy(num_classes=num_classes), Counter())
    for row in rows:
        if "error" in row:
            summary.unreadable += 1
            summary.first_error = summary.first_error or row["error"]
        else:
            summary.accuracy.count(row["loss"], row["rank"])
            summary.confusion[row["label"], row["predicted_class"]] += 1
    return summary


def write_evaluation(folder: Path, rows: Iterable[dict], summary: Summary, metrics: dict, names: Sequence[str]) -> None:
    """Writes predictions.csv, confusion.csv and metrics.json: `metrics`, the unreadable videos, each class's accuracy.

    rows: in the order of the list, see metrics/rows.py. They are iterated over for each file and not kept.
    """
    header = ["video", "label", "predicted_class", "predicted_name", "probability", "rank", "true_probability"]
    write_csv(folder / "predictions.csv", header, ([row[key] for key in header] for row in rows if "error" not in row))

    confusion = summary.confusion
    # Only the classes that occur, as a table of all would grow with the square of num_classes.
    classes = sorted({k for pair in confusion for k in pair})
    table = ([names[true], *(confusion[true, predicted] for predicted in classes)] for true in classes)
    write_csv(folder / "confusion.csv", ["true \\ predicted", *(names[k] for k in classes)], table)

    videos = Counter()
    for (true, _), number in confusion.items():
        videos[true] += number
    per_class = (
        {"class_id": k, "label": names[k], "videos": videos[k], "top1_acc": 100 * confusion[k, k] / videos[k]}
        for k in sorted(videos)
    )
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
    """Writes what json.dump(list(items), file, indent=1) would, `depth` levels down in a document."""
    before = "\n" + " " * (depth + 1)
    separator = "["
    for item in items:
        file.write(separator + before + json.dumps(item, indent=1).replace("\n", before))
        separator = ","
    file.write("[]" if separator == "[" else "\n" + " " * depth + "]")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    def write(file: TextIO) -> None:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

    write_stream(path, write)

"""The files that evaluation and prediction leave behind: JSON for programs, CSV for tables."""

import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from metrics.accuracy import check_finite, confusion_matrix, log_softmax, top_classes, true_class_rank
from reader.filelist import Entry, shorten
from utils.errors import InputError
from utils.files import write_text
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


def write_predictions(folder: Path, results: Sequence[dict]) -> None:
    """predictions.json, the list as it is, and predictions.csv, one line per video and rank, or per error."""
    write_text(folder / "predictions.json", json.dumps(results, indent=1) + "\n")
    rows = []
    for result in results:
        if "error" in result:
            rows.append([result["video"], "", "", "", "", result["error"]])
        for rank, p in enumerate(result.get("predictions", ()), start=1):
            rows.append([result["video"], rank, p["class_id"], p["label"], p["probability"], ""])
    _write_csv(folder / "predictions.csv", ["video", "rank", "class_id", "label", "probability", "error"], rows)


class EvaluationReport:
    """Collects what metrics.json, predictions.csv and confusion.csv of an evaluation hold."""

    def __init__(self, entries: Sequence[Entry], names: Sequence[str]):
        self._entries, self._names = entries, names
        self.rows: dict[int, list] = {}  # position in the list -> line of predictions.csv

    def add(self, indices: Sequence[int], labels: np.ndarray, logits: np.ndarray) -> None:
        """Adds a batch: positions [N], labels [N], logits [N, K]."""
        probabilities = np.exp(log_softmax(logits))
        predicted, ranks = top_classes(logits, 1)[:, 0], true_class_rank(logits, labels)
        for i, (index, label, best, rank) in enumerate(
            zip(indices, labels.tolist(), predicted.tolist(), ranks.tolist())
        ):
            p_best, p_true = float(probabilities[i, best]), float(probabilities[i, label])
            self.rows[index] = [self._entries[index].path, label, best, self._names[best], p_best, rank, p_true]

    def write(self, folder: Path, metrics: dict, unreadable: Iterable[tuple[int, str]]) -> None:
        """Writes the three files; `metrics` is completed by the unreadable videos and the accuracy of each class."""
        rows = [self.rows[i] for i in sorted(self.rows)]
        true, predicted = np.array([(label, best) for _, label, best, *_ in rows], np.int64).reshape(-1, 2).T
        # Only the classes that occur, as a table of all would grow with the square of num_classes.
        classes = np.union1d(true, predicted)
        names = [self._names[k] for k in classes]
        matrix = confusion_matrix(np.searchsorted(classes, true), np.searchsorted(classes, predicted), len(classes))
        per_class = [
            {"class_id": k, "label": name, "videos": sum(row), "top1_acc": 100 * row[i] / sum(row)}
            for i, (k, name, row) in enumerate(zip(classes.tolist(), names, matrix.tolist()))
            if sum(row)
        ]
        listed = [{"video": self._entries[i].path, "error": reason} for i, reason in sorted(unreadable)]
        content = {**metrics, "unreadable": listed, "per_class": per_class}
        write_text(folder / "metrics.json", json.dumps(content, indent=1) + "\n")
        header = ["video", "label", "predicted_class", "predicted_name", "probability", "rank", "true_probability"]
        _write_csv(folder / "predictions.csv", header, rows)
        _write_csv(
            folder / "confusion.csv",
            ["true \\ predicted", *names],
            [[name, *row] for name, row in zip(names, matrix.tolist())],
        )


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())

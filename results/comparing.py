"""Read folders of eval.py, and compare the runs over the videos that they share."""

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from metrics.bootstrap import Difference
from metrics.mcnemar import Paired, pair
from metrics.sums import wilson
from utils.errors import InputError

_COLUMNS = {"label", "rank", "predicted_class", "predicted_name", "probability"}
# A video, and the number of earlier entries with the same video: a list may repeat videos.
Key = tuple[str, int]


class FinishedRun(Protocol):
    """The files that eval.py left in a folder, for one label or many."""

    name: str
    metrics: dict
    rows: Mapping[Key, object]  # by video


@dataclass(frozen=True)
class EvaluatedRun:
    """A run with one label a video."""

    name: str
    metrics: dict
    rows: dict[Key, dict[str, str]]  # from predictions.csv

    def right(self, key: Key) -> bool:
        return self.rows[key]["rank"] == "1"


@dataclass(frozen=True)
class SharedVideos:
    """Several runs over the videos that they share, in the order of the first run. Methods take a run's number."""

    runs: Sequence[FinishedRun]
    videos: Sequence[Key]
    left_out: int  # videos that not all runs have

    def pairs(self) -> Iterator[tuple[FinishedRun, FinishedRun, Paired | Difference]]:
        """Yield each pair of runs with the test of their difference."""
        for a, b in itertools.combinations(range(len(self.runs)), 2):
            yield self.runs[a], self.runs[b], self.paired(a, b)

    def lines(self) -> list[str]:
        """Return the screen line of each run."""
        return [f"  {self.figures(number)}: {run.name}" for number, run in enumerate(self.runs)]

    def said(self) -> str:
        """Return the lines for the screen."""
        lines = [f"{len(self.videos)} videos that all runs have; left out: {self.left_out}", *self.lines()]
        for a, b, found in self.pairs():
            lines += [f"{a.name} against {b.name}:", f"  {found}"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Comparison(SharedVideos):
    """Runs with one label a video."""

    class_names: dict[str, str]  # by class id, as in the files

    def score(self, number: int) -> int:
        """Return how many shared videos a run has right."""
        return self.share_of(self.runs[number])[0]

    def figures(self, number: int) -> str:
        """Return a run's accuracy over the shared videos, in words."""
        right, (low, high) = self.share_of(self.runs[number])
        return f"top-1 {100 * right / len(self.videos):6.2f}%, 95% interval {low:.1f} to {high:.1f}"

    def share_of(self, run: EvaluatedRun) -> tuple[int, tuple[float, float]]:
        """Return how many shared videos a run has right, and the 95% interval in percent."""
        right = sum(map(run.right, self.videos))
        return right, wilson(right, len(self.videos))

    def paired(self, a: int, b: int) -> Paired:
        """Return McNemar's test of two runs."""
        return pair(*(list(map(self.runs[number].right, self.videos)) for number in (a, b)))

    def table(self) -> tuple[list[str], Iterator[list]]:
        """Return the heading and the lines of comparison.csv, a line for each video."""
        header = ["video", "label", *(f"{one.name}: {what}" for one in self.runs for what in ("named", "right"))]
        return header, (
            [key[0], self.runs[0].rows[key]["label"]]
            + [value for one in self.runs for value in (one.rows[key]["predicted_name"], int(one.right(key)))]
            for key in self.videos
        )


def compare(folders: Sequence[str]) -> Comparison:
    """Read the runs. Raises InputError for folders without a run, without shared videos, or with differing labels."""
    runs = [_read_run(folder) for folder in folders]
    everywhere, left_out = shared_by(runs)
    for key, run in itertools.product(everywhere, runs[1:]):
        ours, theirs = runs[0].rows[key]["label"], run.rows[key]["label"]
        if ours != theirs:
            raise InputError(f"{key[0]}: its label is {ours} in {runs[0].name}, but {theirs} in {run.name}")
    names = {str(one["class_id"]): one["label"] for run in runs for one in run.metrics["per_class"]}
    names |= {row["predicted_class"]: row["predicted_name"] for run in runs for row in run.rows.values()}
    return Comparison(runs, everywhere, left_out, names)


def shared_by(runs: Sequence[FinishedRun]) -> tuple[list[Key], int]:
    """Return (the videos that all runs have, in the order of the first run; how many videos not all runs have).

    Raises InputError if the runs have no video in common.
    """
    everywhere = [key for key in runs[0].rows if all(key in run.rows for run in runs)]
    if not everywhere:
        raise InputError(f"{', '.join(run.name for run in runs)}: they have no video in common")
    return everywhere, len(set().union(*(run.rows for run in runs))) - len(everywhere)


def is_of_many(folder: str) -> bool:
    """Return whether a folder of eval.py is of videos with many labels; False if it is no such folder."""
    try:
        return "mAP" in read_metrics(folder)
    except InputError:
        return False  # the function that reads the whole folder raises the error


def keys_of(videos: Iterable[str]) -> Iterator[Key]:
    """Yield each video with the number of earlier videos that equal it."""
    seen: Counter[str] = Counter()
    for video in videos:
        yield video, seen[video]
        seen[video] += 1


def read_metrics(folder: str) -> dict:
    """Return the content of metrics.json. Raises InputError if it is missing or damaged."""
    try:
        metrics = json.loads((Path(folder) / "metrics.json").read_text("utf-8"))
        if not isinstance(metrics, dict):
            raise ValueError("no object")
        return metrics
    except (OSError, ValueError, RecursionError) as error:
        raise _no_folder(folder, error) from None


def _read_run(folder: str) -> EvaluatedRun:
    metrics = read_metrics(folder)
    if "mAP" in metrics:
        raise InputError(f"{folder}: its videos have many labels, but those of another folder have one (MODEL.labels)")
    try:
        with open(Path(folder) / "predictions.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
            lines = list(csv.DictReader(file))
        rows = dict(zip(keys_of(row["video"] for row in lines), lines))
        whole = "per_class" in metrics and all(
            row.keys() >= _COLUMNS and None not in row.values() for row in rows.values()
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise _no_folder(folder, error) from None
    if not whole:
        raise InputError(f"{folder}: not a folder of eval.py (its predictions.csv has other columns)")
    return EvaluatedRun(folder, metrics, rows)


def _no_folder(folder: str, error: Exception) -> InputError:
    reason = error.strerror if isinstance(error, OSError) else "damaged"
    return InputError(f"{folder}: not a folder of eval.py (metrics.json, predictions.csv: {reason})")

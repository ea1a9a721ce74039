"""Folders of eval.py read again, and laid side by side over the videos that all of them have."""

import csv
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from metrics.mcnemar import Paired, pair
from metrics.sums import wilson
from utils.errors import InputError

_COLUMNS = {"label", "rank", "predicted_class", "predicted_name", "probability"}
# A video, and how many lines with it came before: a list may have one several times.
Key = tuple[str, int]


@dataclass(frozen=True)
class EvaluatedRun:
    """What eval.py left in a folder."""

    name: str
    metrics: dict
    rows: dict[Key, dict[str, str]]  # of predictions.csv

    def right(self, key: Key) -> bool:
        return self.rows[key]["rank"] == "1"


@dataclass(frozen=True)
class Comparison:
    """Runs over the videos that all of them have, in the order of the first."""

    runs: Sequence[EvaluatedRun]
    videos: Sequence[Key]
    left_out: int  # videos that some have and others have not
    class_names: dict[str, str]  # by class id, as the files have it

    def said_of(self, run: EvaluatedRun) -> str:
        """Return the line of a run: its accuracy over these videos."""
        right, (low, high) = self.share_of(run)
        share = 100 * right / len(self.videos)
        return f"  top-1 {share:6.2f}%, 95% interval {low:.1f} to {high:.1f}: {run.name}"

    def share_of(self, run: EvaluatedRun) -> tuple[int, tuple[float, float]]:
        """Return how many of these videos a run has right, and the 95% interval in percent."""
        right = sum(map(run.right, self.videos))
        return right, wilson(right, len(self.videos))

    def pairs(self) -> Iterator[tuple[EvaluatedRun, EvaluatedRun, Paired]]:
        """Give every two runs, and what each has right."""
        for a, b in itertools.combinations(self.runs, 2):
            yield a, b, self.paired(a, b)

    def paired(self, a: EvaluatedRun, b: EvaluatedRun) -> Paired:
        """Return what each of two runs has right."""
        return pair(list(map(a.right, self.videos)), list(map(b.right, self.videos)))

    def alone(self, a: EvaluatedRun, b: EvaluatedRun) -> list[Key]:
        """Return the videos that `a` has right and `b` has not."""
        return [key for key in self.videos if a.right(key) and not b.right(key)]


def compare(folders: Sequence[str]) -> Comparison:
    """Read the runs. Raise InputError for what is none, has no video in common, or other labels."""
    runs = [_read_run(folder) for folder in folders]
    everywhere = [key for key in runs[0].rows if all(key in run.rows for run in runs)]
    if not everywhere:
        raise InputError(f"{', '.join(folders)}: they have no video in common")
    for key, run in itertools.product(everywhere, runs[1:]):
        ours, theirs = runs[0].rows[key]["label"], run.rows[key]["label"]
        if ours != theirs:
            raise InputError(f"{key[0]}: its label is {ours} in {runs[0].name}, but {theirs} in {run.name}")
    anywhere = set().union(*(run.rows for run in runs))
    names = {str(one["class_id"]): one["label"] for run in runs for one in run.metrics["per_class"]}
    names |= {row["predicted_class"]: row["predicted_name"] for run in runs for row in run.rows.values()}
    return Comparison(runs, everywhere, len(anywhere) - len(everywhere), names)


def keys_of(videos: Iterable[str]) -> Iterator[Key]:
    """Give each of the videos with the number of those before it that are the same."""
    seen: Counter[str] = Counter()
    for video in videos:
        yield video, seen[video]
        seen[video] += 1


def _read_run(folder: str) -> EvaluatedRun:
    try:
        metrics = json.loads((Path(folder) / "metrics.json").read_text("utf-8"))
        with open(Path(folder) / "predictions.csv", newline="", encoding="utf-8", errors="surrogateescape") as file:
            lines = list(csv.DictReader(file))
        rows = dict(zip(keys_of(row["video"] for row in lines), lines))
        whole = "per_class" in metrics and all(
            row.keys() >= _COLUMNS and None not in row.values() for row in rows.values()
        )
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "damaged"
        raise InputError(f"{folder}: no folder of eval.py (metrics.json, predictions.csv: {reason})") from None
    if not whole:
        raise InputError(f"{folder}: no folder of eval.py (its predictions.csv has other columns)")
    return EvaluatedRun(folder, metrics, rows)

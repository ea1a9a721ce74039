"""Read folders of eval.py, and compare the runs over the videos that they share."""

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
# A video, and the number of earlier entries with the same video: a list may repeat videos.
Key = tuple[str, int]


@dataclass(frozen=True)
class EvaluatedRun:
    """The files that eval.py left in a folder."""

    name: str
    metrics: dict
    rows: dict[Key, dict[str, str]]  # from predictions.csv

    def right(self, key: Key) -> bool:
        return self.rows[key]["rank"] == "1"


@dataclass(frozen=True)
class Comparison:
    """Several runs over the videos that they share, in the order of the first run."""

    runs: Sequence[EvaluatedRun]
    videos: Sequence[Key]
    left_out: int  # videos that not all runs have
    class_names: dict[str, str]  # by class id, as in the files

    def said_of(self, run: EvaluatedRun) -> str:
        """Return the screen line of a run: its accuracy over the shared videos."""
        right = sum(map(run.right, self.videos))
        low, high = wilson(right, len(self.videos))
        share = 100 * right / len(self.videos)
        return f"  top-1 {share:6.2f}%, 95% interval {low:.1f} to {high:.1f}: {run.name}"

    def shares(self) -> Iterator[tuple[EvaluatedRun, int, tuple[float, float]]]:
        """Yield (run, how many shared videos it has right, the 95% interval in percent)."""
        for run in self.runs:
            right = sum(map(run.right, self.videos))
            yield run, right, wilson(right, len(self.videos))

    def pairs(self) -> Iterator[tuple[EvaluatedRun, EvaluatedRun, Paired]]:
        """Yield each pair of runs with the test of their difference."""
        for a, b in itertools.combinations(self.runs, 2):
            yield a, b, self.paired(a, b)

    def paired(self, a: EvaluatedRun, b: EvaluatedRun) -> Paired:
        """Return the paired test of two runs."""
        return pair(list(map(a.right, self.videos)), list(map(b.right, self.videos)))

    def alone(self, a: EvaluatedRun, b: EvaluatedRun) -> list[Key]:
        """Return the videos that `a` has right and `b` has wrong."""
        return [key for key in self.videos if a.right(key) and not b.right(key)]


def compare(folders: Sequence[str]) -> Comparison:
    """Read the runs. Raises InputError for folders without a run, without shared videos, or with differing labels."""
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
    """Yield each video with the number of earlier videos that equal it."""
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

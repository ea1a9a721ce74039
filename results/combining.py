"""Combine folders of eval.py: the mean of their networks' probabilities, as an evaluation of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.rows import evaluations_of
from inference.several_networks import check_same_classes, describe_mean, mean_logits
from metrics.sums import EvaluationSums, sum_rows
from results.comparing import Comparison, EvaluatedRun, compare, keys_of, not_counted
from results.evaluations import OneLabelResults
from results.pages.evaluation import write_evaluation_page
from results.probabilities import Probabilities, read_probabilities, write_probabilities
from results.tables import write_evaluation
from utils.errors import InputError


@dataclass(frozen=True)
class Combination:
    """The mean of several runs over the videos that all of them could read."""

    runs: Sequence[EvaluatedRun]
    factors: Sequence[float]
    names: Sequence[str]  # the class names
    rows: Sequence[dict]  # of an evaluation, see inference/rows.py; videos that a run could not read come last
    probabilities: np.ndarray  # float32 [N, K], the mean
    sums: EvaluationSums
    elsewhere: int  # videos that are not on all lists

    @property
    def readable(self) -> Sequence[dict]:
        """Return the rows without an error."""
        return self.rows[: len(self.probabilities)]

    @property
    def protocol(self) -> str:
        """Describe in words how the videos were read and computed."""
        return describe_mean([str(run.metrics.get("protocol", run.name)) for run in self.runs], self.factors)

    def said(self) -> str:
        """Return the lines for the screen: the mean's accuracy, each run's, and the test against the best run."""
        named, counted = "mean of the probabilities", list(keys_of(row["video"] for row in self.readable))
        ranks = ({"rank": str(row["rank"])} for row in self.readable)  # as read back from predictions.csv
        mean = EvaluatedRun(named, {}, dict(zip(counted, ranks)))
        comparison = Comparison([mean, *self.runs], counted, self.elsewhere, {})
        best = max(self.runs, key=lambda run: sum(map(run.right, counted)))
        lines = [
            f"{len(counted)} videos that all could read; unreadable: {self.sums.unreadable.number}; "
            f"not on the list of all: {self.elsewhere}",
            *map(comparison.said_of, comparison.runs),
            f"{named} against the best of them, {best.name}:",
            f"  {comparison.paired(mean, best)}",
        ]
        return "\n".join(lines)

    def write(self, folder: Path, report: bool) -> None:
        """Write the files of eval.py, except the journal and the configuration, because each run has its own."""
        counted = {"videos": self.sums.videos, "repeated": self.repeated}
        different = 1 - self.repeated / self.sums.videos
        metrics = {**OneLabelResults.metrics(self.sums, different), **counted, "protocol": self.protocol}
        write_evaluation(folder, self.rows, self.sums, metrics, self.names)
        columns = zip(*((row["video"], row["label"]) for row in self.readable))
        write_probabilities(folder, *columns, self.names, [self.probabilities])
        if report:
            page = folder / "report.html", self.rows, self.sums, metrics, self.names, {"how": self.protocol}
            write_evaluation_page(*page, lambda positions: (), folder)

    @property
    def repeated(self) -> int:
        """Return how many videos repeat the video of an earlier row."""
        return self.sums.videos - len({row["video"] for row in self.readable})


def combine(folders: Sequence[str], factors: Sequence[float]) -> Combination:
    """Return the mean of the runs in these folders, weighted by these factors.

    A video that one run could not read is unreadable, even if other runs could read it.

    Raises InputError if a folder is not from eval.py, or if classes or a video's labels differ.
    """
    found = [read_probabilities(folder) for folder in folders]
    names = check_same_classes([one.names.tolist() for one in found], folders)
    comparison = compare(folders)
    positions = [_positions(run, one) for run, one in zip(comparison.runs, found)]
    picked = [one.probabilities[[place[key] for key in comparison.videos]] for one, place in zip(found, positions)]
    logits = mean_logits(picked, factors)
    labels = np.array([int(comparison.runs[0].rows[key]["label"]) for key in comparison.videos])
    if labels.min() < 0 or labels.max() >= len(names):
        raise InputError(f"{folders[0]}: predictions.csv: a label is outside 0..{len(names) - 1}")
    values = evaluations_of(names)(logits, labels)
    rows = [
        {"position": i, "video": key[0], "file": None, **value}
        for i, (key, value) in enumerate(zip(comparison.videos, values))
    ]
    unreadable, elsewhere, why = not_counted(comparison.runs, comparison.videos)
    rows += (
        {"position": i, "video": video, "file": None, "error": why[video]}
        for i, video in enumerate(unreadable.elements(), start=len(rows))
    )
    sums = sum_rows(rows, len(names))
    mean = np.exp(logits).astype(np.float32)
    return Combination(comparison.runs, factors, names, rows, mean, sums, elsewhere)


def _positions(run: EvaluatedRun, found: Probabilities) -> dict[tuple[str, int], int]:
    """Return the row index in the probabilities for each video of a run.

    Raises InputError if the two files come from different runs.
    """
    if [video for video, _ in run.rows] != found.paths.tolist():
        raise InputError(f"{run.name}: probabilities.npz and predictions.csv are of different videos")
    return {key: i for i, key in enumerate(run.rows)}

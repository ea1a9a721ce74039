"""Folders of eval.py made one: the mean of what their networks say of each class, as an evaluation of its own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from pathlib import Path

import numpy as np

from inference.rows import evaluations_of
from metrics.sums import EvaluationSums, sum_rows
from results.comparing import Comparison, EvaluatedRun, compare, keys_of
from results.evaluations import OneLabelResults
from results.pages.evaluation import write_evaluation_page
from results.probabilities import Probabilities, read_probabilities, write_probabilities
from results.tables import write_evaluation
from utils.errors import InputError, quoted

# The least float32 that is not rounded to others: its logarithm is finite, where a probability is 0.
_TINY = float(np.finfo(np.float32).tiny)


def mean_logits(probabilities: Sequence[np.ndarray], factors: Sequence[float]) -> np.ndarray:
    """Return float64 [N, K] whose softmax is the mean, by these factors, of probabilities [N, K] of each network."""
    total = sum(factor * part.astype(np.float64) for factor, part in zip(factors, probabilities, strict=True))
    return np.log(np.maximum(total / sum(factors), _TINY))


def describe_mean(protocols: Sequence[str], factors: Sequence[float]) -> str:
    """Return how the mean of several networks is made, in words; protocols: of each."""
    parts = " + ".join(f"{factor:g} * ({protocol})" for factor, protocol in zip(factors, protocols))
    return f"mean of the probabilities of {len(protocols)} networks: {parts}"


def check_same_classes(names: Sequence[Sequence[str]], owners: Sequence[str]) -> Sequence[str]:
    """Return the names of the classes, which all have; numbers stand for names that are not known.

    names: of each network. Raise InputError, which tells two of the owners and the first difference, where they differ.
    """
    known = [(ours, who) for ours, who in zip(names, owners) if list(ours) != [str(k) for k in range(len(ours))]]
    first, of_first = known[0] if known else (names[0], owners[0])
    for ours, who in zip(names, owners):
        if len(ours) != len(first):
            raise InputError(f"{who}: {len(ours)} classes, but {of_first} has {len(first)}")
    for ours, who in known:
        at = next((k for k, (one, other) in enumerate(zip(ours, first)) if one != other), None)
        if at is not None:
            raise InputError(f"{who}: class {at} is {quoted(ours[at])}, but {quoted(first[at])} in {of_first}")
    return first


@dataclass(frozen=True)
class Combination:
    """The mean of some runs over the videos that all of them could read."""

    runs: Sequence[EvaluatedRun]
    factors: Sequence[float]
    names: Sequence[str]  # of the classes
    rows: Sequence[dict]  # of an evaluation, see inference/rows.py: what one of them could not read at the end
    probabilities: np.ndarray  # float32 [N, K], the mean
    sums: EvaluationSums
    elsewhere: int  # videos that are on the lists of some, and not of others

    @property
    def readable(self) -> Sequence[dict]:
        """The rows without an error."""
        return self.rows[: len(self.probabilities)]

    @property
    def protocol(self) -> str:
        """How the videos were read and computed, in words."""
        return describe_mean([str(run.metrics.get("protocol", run.name)) for run in self.runs], self.factors)

    def said(self) -> str:
        """Return the lines for the screen: the mean's accuracy, each one's own, and the test against the best."""
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
        """Write what eval.py does, but for the journal and the configuration, of which there are several."""
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
        """How many of the videos an earlier row has."""
        return self.sums.videos - len({row["video"] for row in self.readable})


def combine(folders: Sequence[str], factors: Sequence[float]) -> Combination:
    """Return the mean of the runs in some folders, by these factors.

    A video that one of them could not read is unreadable, whatever the others say of it.

    Raise InputError for a folder that is none of eval.py, for other classes and for other labels of a video.
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
    unreadable, elsewhere, why = _not_counted(comparison)
    rows += (
        {"position": i, "video": video, "file": None, "error": why[video]}
        for i, video in enumerate(unreadable.elements(), start=len(rows))
    )
    sums = sum_rows(rows, len(names))
    mean = np.exp(logits).astype(np.float32)
    return Combination(comparison.runs, factors, names, rows, mean, sums, elsewhere)


def _positions(run: EvaluatedRun, found: Probabilities) -> dict[tuple[str, int], int]:
    """Return the row of the probabilities of each video of a run.

    Raise InputError where the two files are of two runs.
    """
    if [video for video, _ in run.rows] != found.paths.tolist():
        raise InputError(f"{run.name}: probabilities.npz and predictions.csv are of different videos")
    return {key: i for i, key in enumerate(run.rows)}


def _not_counted(comparison: Comparison) -> tuple[Counter[str], int, dict[str, str]]:
    """Return what is not counted: of the videos on all lists those that one could not read, how often, and why.

    The number is that of the videos which are not on the lists of all.
    """
    lists, why = [], {}
    for run in comparison.runs:
        errors = [(one["video"], one["error"]) for one in run.metrics.get("unreadable", ())]
        lists.append(Counter(video for video, _ in [*run.rows, *errors]))
        why = {video: f"{run.name}: {error}" for video, error in errors} | why
    on_all, on_any = reduce(and_, lists), reduce(or_, lists)
    return on_all - Counter(video for video, _ in comparison.videos), (on_any - on_all).total(), why

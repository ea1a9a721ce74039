"""Combine folders of eval.py: the mean of their networks' probabilities, as an evaluation of its own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from pathlib import Path

import numpy as np

from inference.rows import evaluations_of
from metrics.sums import EvaluationSums, sum_rows, wilson
from results.comparing import Comparison, EvaluatedRun, compare, keys_of
from results.pages.evaluation import write_evaluation_page
from results.probabilities import Probabilities, read_probabilities, write_probabilities
from results.tables import write_evaluation
from utils.errors import InputError, quoted

# The least normal float32. Its logarithm is finite, so it replaces a probability of 0.
_TINY = float(np.finfo(np.float32).tiny)


def mean_logits(probabilities: Sequence[np.ndarray], factors: Sequence[float]) -> np.ndarray:
    """Return float64 [N, K] logits whose softmax is the weighted mean of the networks' probabilities [N, K]."""
    total = sum(factor * part.astype(np.float64) for factor, part in zip(factors, probabilities, strict=True))
    return np.log(np.maximum(total / sum(factors), _TINY))


def describe_mean(protocols: Sequence[str], factors: Sequence[float]) -> str:
    """Describe in words how the mean of several networks is made. protocols: one per network."""
    parts = " + ".join(f"{factor:g} * ({protocol})" for factor, protocol in zip(factors, protocols))
    return f"mean of the probabilities of {len(protocols)} networks: {parts}"


def check_same_classes(names: Sequence[Sequence[str]], owners: Sequence[str]) -> Sequence[str]:
    """Return the class names that all networks share. Plain numbers stand for unknown names.

    names: of each network. Raises InputError, which names two owners and their first difference, if names differ.
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
        interval = wilson(self.sums.right, self.sums.videos, self.sums.videos * different)
        metrics = {
            **self.sums.accuracy.means,
            "top1_interval": interval,
            **self.sums.class_means,
            **counted,
            "protocol": self.protocol,
        }
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
    unreadable, elsewhere, why = _not_counted(comparison)
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


def _not_counted(comparison: Comparison) -> tuple[Counter[str], int, dict[str, str]]:
    """Return (how often each unreadable video occurs, how many videos are not on all lists, why each is unreadable).

    Unreadable videos are those on all lists that at least one run could not read.
    """
    lists, why = [], {}
    for run in comparison.runs:
        errors = [(one["video"], one["error"]) for one in run.metrics.get("unreadable", ())]
        lists.append(Counter(video for video, _ in [*run.rows, *errors]))
        why = {video: f"{run.name}: {error}" for video, error in errors} | why
    on_all, on_any = reduce(and_, lists), reduce(or_, lists)
    return on_all - Counter(video for video, _ in comparison.videos), (on_any - on_all).total(), why

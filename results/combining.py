"""Combine folders of eval.py: the mean of their networks' probabilities, as an evaluation of its own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from inference.label_kinds import MANY, ONE
from inference.several_networks import check_same_classes, describe_mean, mean_logits, mean_thresholds
from metrics.many import ManyScores
from metrics.sums import EvaluationSums
from results.comparing import Comparison, EvaluatedRun, FinishedRun, Key, compare, is_of_many
from results.comparing_many import ManyComparison, ManyRun, compare_many
from results.evaluations import ManyLabelResults, OneLabelResults
from results.probabilities import Probabilities, read_probabilities
from utils.errors import InputError

NAMED = "mean of the probabilities"


@dataclass(frozen=True)
class Combination:
    """The mean of several runs over the videos that all of them could read."""

    comparison: Comparison | ManyComparison  # of the mean, which comes first, and the runs
    protocol: str  # how the videos were read and computed, in words
    results: OneLabelResults | ManyLabelResults
    rows: Sequence[dict]  # of an evaluation, see inference/rows.py; videos that a run could not read come last
    probabilities: np.ndarray  # float32 [N, K], the mean
    sums: EvaluationSums | ManyScores
    elsewhere: int  # videos that are not on all lists

    def said(self) -> str:
        """Return the lines for the screen: the figures of the mean and of each run, and the test against the best."""
        _, *runs = range(len(self.comparison.runs))
        best = max(runs, key=self.comparison.score)
        lines = [
            f"{self.sums.videos} videos that all could read; unreadable: {self.sums.unreadable.number}; "
            f"not on the list of all: {self.elsewhere}",
            *self.comparison.lines(),
            f"{NAMED} against the best of them, {self.comparison.runs[best].name}:",
            f"  {self.comparison.paired(0, best)}",
        ]
        return "\n".join(lines)

    def write(self, folder: Path, report: bool) -> None:
        """Write the files of eval.py, except the journal and the configuration, because each run has its own."""
        repeated = self.sums.videos - len({row["video"] for row in self.rows if "error" not in row})
        metrics = self.results.metrics(self.sums, 1 - repeated / self.sums.videos)
        metrics |= {"videos": self.sums.videos, "repeated": repeated, "protocol": self.protocol}
        kept = SimpleNamespace(read=lambda first, last: self.probabilities[first:last])
        self.results.write(folder, self.rows, self.sums, metrics, kept)
        if report:
            page = folder / "report.html", self.rows, self.sums, metrics, {"protocol": self.protocol}
            self.results.write_page(*page, lambda positions: (), folder)


def combine(folders: Sequence[str], factors: Sequence[float]) -> Combination:
    """Return the mean of the runs in these folders, weighted by these factors; with many labels, of thresholds too.

    A video that one run could not read is unreadable, even if other runs could read it.

    Raises InputError if a folder is not from eval.py, or if classes or a video's labels differ.
    """
    many = any(map(is_of_many, folders))
    kind, (compared, names, probabilities, labels) = (MANY, _many(folders)) if many else (ONE, _one(folders))
    logits = mean_logits(probabilities, factors, kind)
    found, videos = kind.probabilities(logits).astype(np.float32), compared.videos
    unreadable, elsewhere = _not_counted(compared.runs, videos)
    about = [(video, value) for (video, _), value in zip(videos, kind.evaluations_of(names)(logits, labels))]
    about += [(video, {"error": error}) for video, error in unreadable]
    rows = [{"position": i, "video": video, "file": None, **value} for i, (video, value) in enumerate(about)]
    if many:
        thresholds = mean_thresholds([run.found.thresholds for run in compared.runs], factors)
        results = ManyLabelResults(names, thresholds)
        paths = np.array([video for video, _ in videos])
        of_mean = Probabilities(paths, labels, np.array(names), found, np.array(thresholds))
        mean = ManyRun(NAMED, {}, of_mean, {key: i for i, key in enumerate(videos)})
        comparison = ManyComparison([mean, *compared.runs], videos, elsewhere, names)
    else:
        results = OneLabelResults(names)
        ranks = ({"rank": str(row["rank"])} for row in rows)  # as read from predictions.csv
        mean = EvaluatedRun(NAMED, {}, dict(zip(videos, ranks)))
        comparison = Comparison([mean, *compared.runs], videos, elsewhere, {})
    protocols = [str(run.metrics.get("protocol", run.name)) for run in compared.runs]
    protocol = describe_mean(protocols, factors, kind)
    return Combination(comparison, protocol, results, rows, found, results.sums(rows), elsewhere)


# The comparison, the class names, each run's probabilities of its videos [N, K], and their labels.
Known = tuple[Comparison | ManyComparison, Sequence[str], list[np.ndarray], np.ndarray]


def _one(folders: Sequence[str]) -> Known:
    found = [read_probabilities(folder) for folder in folders]
    names = check_same_classes([one.names.tolist() for one in found], folders)
    compared = compare(folders)
    picked = [_picked(run, one, compared.videos) for run, one in zip(compared.runs, found)]
    labels = np.array([int(compared.runs[0].rows[key]["label"]) for key in compared.videos])
    if labels.min() < 0 or labels.max() >= len(names):
        raise InputError(f"{folders[0]}: predictions.csv: a label is outside 0..{len(names) - 1}")
    return compared, names, picked, labels


def _picked(run: EvaluatedRun, found: Probabilities, videos: Sequence[Key]) -> np.ndarray:
    """Return a run's probabilities of these videos, [N, K].

    Raises InputError if probabilities.npz and predictions.csv come from different runs.
    """
    if [video for video, _ in run.rows] != found.paths.tolist():
        raise InputError(f"{run.name}: probabilities.npz and predictions.csv have different videos: run eval.py again")
    place = {key: i for i, key in enumerate(run.rows)}
    return found.probabilities[[place[key] for key in videos]]


def _many(folders: Sequence[str]) -> Known:
    compared = compare_many(folders)
    return compared, compared.names, compared.probabilities, compared.labels


def _not_counted(runs: Sequence[FinishedRun], videos: Sequence[Key]) -> tuple[list[tuple[str, str]], int]:
    """Return (each video on all lists that a run could not read, with the reason; how many are not on all lists).

    videos: those that are counted.
    """
    lists, why = [], {}
    for run in runs:
        errors = [(one["video"], one["error"]) for one in run.metrics.get("unreadable", ())]
        lists.append(Counter(video for video, _ in [*run.rows, *errors]))
        why = {video: f"{run.name}: {error}" for video, error in errors} | why
    on_all, on_any = reduce(and_, lists), reduce(or_, lists)
    unreadable = on_all - Counter(video for video, _ in videos)
    return [(video, why[video]) for video in unreadable.elements()], (on_any - on_all).total()

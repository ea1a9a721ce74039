"""Compare folders of eval.py with many labels a video, over the videos that they share."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from inference.several_networks import check_same_classes
from metrics.bootstrap import Difference, difference, drawn_maps, interval
from metrics.many import ManyClass, ManyScores
from metrics.sums import mean_scores
from results.comparing import Key, SharedVideos, keys_of, read_metrics, shared_by
from results.probabilities import Probabilities, read_probabilities
from utils.errors import InputError


@dataclass(frozen=True)
class ManyRun:
    """A run with many labels a video."""

    name: str
    metrics: dict
    found: Probabilities
    rows: dict[Key, int]  # the number of a video's row in `found`


@dataclass(frozen=True)
class ManyComparison(SharedVideos):
    """Runs with many labels a video."""

    names: Sequence[str]  # of the classes

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels of the videos, uint8 [N, K], 0 or 1."""
        return self._picked(self.runs[0], self.runs[0].found.labels)

    @cached_property
    def probabilities(self) -> list[np.ndarray]:
        """The probabilities of each run, float32 [N, K]."""
        return [self._picked(run, run.found.probabilities) for run in self.runs]

    @cached_property
    def scores(self) -> list[ManyScores]:
        """The sums of each run over these videos, without the loss."""
        return [ManyScores.of(own, self.labels) for own in self.probabilities]

    @cached_property
    def maps(self) -> list[float]:
        """The mAP of each run, in percent."""
        return [one.means["mAP"] for one in self.scores]

    @cached_property
    def classes(self) -> list[list[ManyClass]]:
        """The counts of each run's classes, named from the run's own thresholds on."""
        return [one.classes(run.found.thresholds.tolist()) for one, run in zip(self.scores, self.runs)]

    @cached_property
    def drawn(self) -> np.ndarray:
        """The mAP of each run over each draw of the videos, float64 [R, D], see metrics/bootstrap.py."""
        return drawn_maps(self.probabilities, self.labels)

    def f1(self, number: int) -> float:
        """Return the mean F1 of a run over the classes with videos, in percent."""
        return mean_scores(self.classes[number])["f1"]

    def interval(self, number: int) -> tuple[float, float]:
        """Return the 95% interval of a run's mAP."""
        return interval(self.drawn[number])

    def score(self, number: int) -> float:
        """Return the mAP of a run, in percent."""
        return self.maps[number]

    def figures(self, number: int) -> str:
        """Return a run's mAP with its interval and its mean F1, in words."""
        low, high = self.interval(number)
        within = f"mAP {self.maps[number]:6.2f}%, 95% interval {low:.1f} to {high:.1f}"
        return f"{within}; mean F1 {self.f1(number):6.2f}%"

    def paired(self, a: int, b: int) -> Difference:
        """Return the difference of two runs."""
        return difference(self.maps[a], self.maps[b], self.drawn[a], self.drawn[b])

    def table(self) -> tuple[list[str], Iterator[list]]:
        """Return the heading and the lines of comparison.csv, a line for each video."""
        header = ["video", "labels", *(f"{run.name}: {what}" for run in self.runs for what in ("named", "right"))]
        named = [own >= np.float32(run.found.thresholds) for own, run in zip(self.probabilities, self.runs)]

        def lines() -> Iterator[list]:
            for i, (video, _) in enumerate(self.videos):
                true = self.labels[i] > 0
                answers = ((self._names(one[i]), int((one[i] == true).all())) for one in named)
                yield [video, self._names(true), *itertools.chain.from_iterable(answers)]

        return header, lines()

    def _names(self, which: np.ndarray) -> str:
        return ";".join(self.names[k] for k in np.flatnonzero(which))

    def _picked(self, run: ManyRun, values: np.ndarray) -> np.ndarray:
        return values[[run.rows[key] for key in self.videos]]


def compare_many(folders: Sequence[str]) -> ManyComparison:
    """Read the runs.

    Raises InputError for folders without a run, without shared videos, or with differing classes or labels.
    """
    runs = [_read_run(folder) for folder in folders]
    names = check_same_classes([run.found.names.tolist() for run in runs], folders)
    videos, left_out = shared_by(runs)
    comparison = ManyComparison(runs, videos, left_out, names)
    for run in runs[1:]:
        differ = (comparison._picked(run, run.found.labels) != comparison.labels).any(axis=1)
        if differ.any():
            video = videos[int(np.argmax(differ))][0]
            raise InputError(f"{video}: its labels differ between {runs[0].name} and {run.name}")
    return comparison


def _read_run(folder: str) -> ManyRun:
    metrics, found = read_metrics(folder), read_probabilities(folder)
    if found.thresholds is None:
        raise InputError(f"{folder}: its videos have one label, but those of another folder have many (MODEL.labels)")
    return ManyRun(folder, metrics, found, {key: i for i, key in enumerate(keys_of(found.paths.tolist()))})

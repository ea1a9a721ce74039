"""Folders of eval.py made one: see results/combining.py. Here of videos with many labels, or with either."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.label_kinds import MANY
from inference.several_networks import describe_mean, mean_logits, mean_thresholds
from metrics.bootstrap import difference, drawn_maps, interval
from metrics.many import ManyScores
from metrics.sums import mean_scores
from results.combining import Combination, combine
from results.comparing import is_of_many, not_counted
from results.comparing_many import ManyComparison, compare_many, figures_line
from results.evaluations import ManyLabelResults

NAMED = "mean of the probabilities"


@dataclass(frozen=True)
class ManyCombination:
    """The mean of some runs over the videos that all of them could read."""

    comparison: ManyComparison
    factors: Sequence[float]
    thresholds: Sequence[float]  # of the mean
    rows: Sequence[dict]  # of an evaluation, see inference/label_kinds.py: what one could not read at the end
    sums: ManyScores
    elsewhere: int  # videos that are on the lists of some, and not of others

    @property
    def protocol(self) -> str:
        """How the videos were read and computed, in words."""
        protocols = [str(run.metrics.get("protocol", run.name)) for run in self.comparison.runs]
        return describe_mean(protocols, self.factors, MANY)

    def said(self) -> str:
        """Return the lines for the screen: the mean's mAP, each one's own, and the difference to the best."""
        own, best = self.sums.means["mAP"], int(np.argmax(self.comparison.maps))
        [drawn] = drawn_maps([self.sums.probabilities], self.sums.labels)
        f1 = mean_scores(self.sums.classes(self.thresholds))["f1"]
        compared = difference(own, self.comparison.maps[best], drawn, self.comparison.drawn[best])
        return "\n".join(
            [
                f"{self.sums.videos} videos that all could read; unreadable: {self.sums.unreadable.number}; "
                f"not on the list of all: {self.elsewhere}",
                figures_line(own, interval(drawn), f1, NAMED),
                *self.comparison.lines(),
                f"{NAMED} against the best of them, {self.comparison.runs[best].name}:",
                f"  {compared}",
            ]
        )

    def write(self, folder: Path, report: bool) -> None:
        """Write what eval.py does, but for the journal and the configuration, of which there are several."""
        results = ManyLabelResults(self.comparison.names, self.thresholds)
        repeated = self.sums.videos - len({video for video, _ in self.comparison.videos})
        counted = {"videos": self.sums.videos, "repeated": repeated}
        different = 1 - repeated / self.sums.videos
        metrics = {**results.metrics(self.sums, different), **counted, "protocol": self.protocol}
        results.write(folder, self.rows, self.sums, metrics, None)
        if report:
            page = folder / "report.html", self.rows, self.sums, metrics, {"how": self.protocol}
            results.write_page(*page, lambda positions: (), folder)


def combine_many(folders: Sequence[str], factors: Sequence[float]) -> ManyCombination:
    """Return the mean of the runs in some folders, by these factors, as `combine` does of one label a video.

    Its thresholds are the mean of theirs. Raise InputError for other classes and for other labels of a video.
    """
    comparison = compare_many(folders)
    logits = mean_logits(comparison.probabilities, factors, MANY)
    values = MANY.evaluations_of(comparison.names)(logits, comparison.labels)
    unreadable, elsewhere, why = not_counted(comparison.runs, comparison.videos)
    about = [(key[0], value) for key, value in zip(comparison.videos, values)]
    about += [(video, {"error": why[video]}) for video in unreadable.elements()]
    rows = [{"position": i, "video": video, "file": None, **value} for i, (video, value) in enumerate(about)]
    thresholds = [run.found.thresholds for run in comparison.runs]
    sums = ManyScores(len(comparison.names))
    for row in rows:
        sums.add(row)
    return ManyCombination(comparison, factors, mean_thresholds(thresholds, factors), rows, sums, elsewhere)


def combine_runs(folders: Sequence[str], factors: Sequence[float]) -> Combination | ManyCombination:
    """Return the mean of the runs in some folders, be their videos of one label or of many."""
    return combine_many(folders, factors) if any(map(is_of_many, folders)) else combine(folders, factors)

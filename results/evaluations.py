"""Compute, sum up and write the results of eval.py, in one class per value of MODEL.labels."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from inference.label_kinds import MANY, ONE
from inference.rows import Values
from metrics.many import ManyScores
from metrics.sums import EvaluationSums, mean_scores, sum_rows, wilson
from results.feature_file import PROBABILITIES, FeatureFile
from results.pages.evaluation import write_evaluation_page
from results.pages.many_labels import write_many_page
from results.pages.page import Frames
from results.probabilities import write_probabilities, write_rows_probabilities
from results.row_checks import Fits, evaluation_fits, many_evaluation_fits
from results.tables import write_evaluation, write_many_evaluation
from utils.processes.ranks import World


class OneLabelResults:
    """Results for videos with one class each."""

    kind = ONE.evaluation

    def __init__(self, names: Sequence[str], thresholds: Sequence[float] | None = None):
        """names: of the classes. thresholds: used with many labels only."""
        self.names, self.values = names, ONE.evaluations_of(names)

    def fits(self, entries: Sequence) -> Fits:
        """Return the check for rows of these entries."""
        return evaluation_fits(self.names, entries)

    def sums(self, rows: Iterable[dict]) -> EvaluationSums:
        """Return the sums over the rows."""
        return sum_rows(rows, len(self.names))

    @staticmethod
    def so_far(sums: EvaluationSums) -> dict[str, float]:
        """Return the numbers that the log shows while the run goes on."""
        return sums.means

    @staticmethod
    def metrics(sums: EvaluationSums, different: float) -> dict[str, object]:
        """Return the figures of metrics.json. different: the share of videos that do not repeat another."""
        interval = wilson(sums.right, sums.videos, sums.videos * different)
        return {**sums.means, "top1_interval": interval, **sums.class_means}

    def kept(self, folder: Path, order: range, world: World) -> FeatureFile | None:
        """Return the file to keep beside the rows: the probabilities of all classes."""
        return FeatureFile(folder, order, [len(self.names)], "float32", world, PROBABILITIES)

    def write(self, folder: Path, rows: Iterable[dict], sums: EvaluationSums, metrics: dict, kept: FeatureFile) -> None:
        """Write predictions.csv, confusion.csv, metrics.json and probabilities.npz."""
        write_evaluation(folder, rows, sums, metrics, self.names)
        write_rows_probabilities(folder, rows, kept, self.names)

    def write_page(
        self, path: Path, rows: Iterable[dict], sums: EvaluationSums, metrics: dict, facts: Mapping, frames: Frames,
        beside: Path | None,
    ) -> None:  # fmt: skip
        """Write report.html."""
        write_evaluation_page(path, rows, sums, metrics, self.names, facts, frames, beside)


class ManyLabelResults:
    """Results for videos with several classes each, with the methods of OneLabelResults."""

    kind = MANY.evaluation

    def __init__(self, names: Sequence[str], thresholds: Sequence[float]):
        """thresholds: a class is named if its probability reaches its threshold."""
        self.names, self.thresholds = names, thresholds
        self.values: Values = MANY.evaluations_of(names)

    def fits(self, entries: Sequence) -> Fits:
        """Return the check for rows of these entries."""
        return many_evaluation_fits(len(self.names), entries)

    def sums(self, rows: Iterable[dict]) -> ManyScores:
        """Return the sums over the rows."""
        sums = ManyScores(len(self.names))
        for row in rows:
            sums.add(row)
        return sums

    @staticmethod
    def so_far(sums: ManyScores) -> dict[str, float]:
        """Return the loss only, because average precision needs all videos."""
        return {"loss": sums.loss_sum / (sums.videos or float("nan"))}

    def metrics(self, sums: ManyScores, different: float) -> dict[str, object]:
        """Return the figures of metrics.json: f1, precision and recall are means over the classes with videos."""
        classes = sums.classes(self.thresholds)
        means = {f"mean_{key}": value for key, value in mean_scores(classes).items()}
        return {**sums.means, **means, "classes_with_videos": sum(found.videos > 0 for found in classes)}

    @staticmethod
    def kept(folder: Path, order: range, world: World) -> None:
        """Return None, because the rows already hold the probabilities of all classes."""

    def write(self, folder: Path, rows: Iterable[dict], sums: ManyScores, metrics: dict, kept: None) -> None:
        """Write predictions.csv, metrics.json and probabilities.npz."""
        write_many_evaluation(folder, rows, sums.classes(self.thresholds), metrics, self.names)
        paths = [row["video"] for row in rows if "error" not in row]
        write_probabilities(folder, paths, sums.labels, self.names, [sums.probabilities], self.thresholds)

    def write_page(
        self, path: Path, rows: Iterable[dict], sums: ManyScores, metrics: dict, facts: Mapping, frames: Frames,
        beside: Path | None,
    ) -> None:  # fmt: skip
        """Write report.html."""
        classes = sums.classes(self.thresholds)
        write_many_page(path, rows, sums, classes, metrics, self.names, facts, frames, beside)


RESULTS = {"single": OneLabelResults, "multi": ManyLabelResults}

"""Run several networks over the same videos, a pass for each, then average their probabilities.

Each pass is like a single network's, with its own folder and journal, so the same command can resume.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path

from inference.label_kinds import MANY, LabelKind, Naming
from inference.rows import compute_rows, predictions_of
from inference.several_networks import (
    check_same_classes,
    check_same_labels,
    describe_mean,
    mean_logits,
    mean_thresholds,
)
from metrics.sums import EvaluationSums
from reader.filelist import FileList
from results.combining import combine
from results.evaluating import Evaluation
from results.feature_file import PROBABILITIES, FeatureFile
from results.leftovers import replace_earlier
from results.list_results import write_list_results
from results.list_run import ListRun, forgetting, remove_unfinished
from results.pages.frames import frames_seen
from results.pages.prediction import write_prediction_page
from results.passes import open_list_run
from results.task import Task, describe, describe_in_list
from utils.errors import InputError
from utils.log import say
from utils.processes.ranks import World
from utils.storage.files import write_text
from utils.storage.lock import locked_folder

_AT_ONCE = 256  # videos


def check_alike(
    names: Sequence[Sequence[str]], lists: Sequence[FileList], weights: Sequence[str], labels: Sequence[str]
) -> Sequence[str]:
    """Return the class names after checking that all networks have the same names, list and MODEL.labels.

    weights, labels: of each network. Raises InputError if two networks differ.
    """
    check_same_labels(labels, weights)
    for entries, who in zip(lists, weights):
        if entries.digest != lists[0].digest:
            raise InputError(f"{who}: its configuration has another list than {weights[0]}: give both --filelist=PATH")
    return check_same_classes(names, weights)


def deliver_all(runs: Sequence[ListRun], folder: Path) -> None:
    """End the runs after all results, also those in `folder`, are written. Until then the same command can resume."""
    for run in runs:
        run.deliver(lambda rows: None)
    replace_earlier(folder)


class MeanRows:
    """The mean of several runs' PREDICTION rows, computed anew in each iteration and never held."""

    def __init__(self, runs: Sequence[ListRun], factors: Sequence[float], kind: LabelKind, naming: Naming):
        """kind, naming: of the mean."""
        self._runs, self._factors, self._kind, self._naming = runs, factors, kind, naming

    def __iter__(self) -> Iterator[dict]:
        rows = zip(*(run.journal.rows() for run in self._runs), strict=True)
        while some := list(islice(rows, _AT_ONCE)):
            first, last = some[0][0]["position"], some[-1][0]["position"]
            parts = [run.features.read(first, last + 1) for run in self._runs]
            good = [i for i, of_each in enumerate(some) if not any("error" in row for row in of_each)]
            logits = mean_logits([part[good] for part in parts], self._factors, self._kind)
            best = dict(zip(good, self._naming(logits))) if good else {}
            for i, of_each in enumerate(some):
                about = {key: of_each[0][key] for key in ("position", "video")} | {"file": None}
                errors = (f"{row['error']} ({run.folder})" for run, row in zip(self._runs, of_each) if "error" in row)
                yield about | ({"predictions": best[i]} if i in best else {"error": next(errors)})


def predict_several(
    tasks: Sequence[Task], factors: Sequence[float], names: Sequence[str], folder: Path, world: World, device: str
) -> int | None:
    """Return the number of videos that at least one network could not read, or None except on rank 0.

    tasks: one per network, over the same videos. names: the class names. folder: for the results; each network gets a
    folder of its own inside. Raises InputError if a single video cannot be read.
    """
    held = locked_folder(folder, f"--save_dir={folder}") if world.is_main else nullcontext()
    with held, ExitStack() as stack:
        done = [_pass(task, world, device, stack) for task in tasks]
        if not world.is_main:
            return None
        runs, protocols, thresholds = zip(*done)
        first, kind = tasks[0], tasks[0].kind
        of_mean = mean_thresholds(thresholds, factors) if kind is MANY else None
        naming = kind.naming(names, first.section.topk, first.flags.threshold, of_mean)
        rows, protocol = MeanRows(runs, factors, kind, naming), describe_mean(protocols, factors, kind)
        with forgetting(runs):
            return _deliver(runs, rows, tasks, folder, protocol)


def deliver_evaluations(
    done: Sequence[Evaluation], factors: Sequence[float], folder: Path, report: bool
) -> EvaluationSums:
    """Write the mean and each network's evaluation. Return the sums over the mean.

    done: one per network. Raises InputError if a network could not read any video.
    """
    runs = [one.run for one in done]
    with forgetting(runs):
        for one in done:
            one.write(one.run.journal.rows())
        found = combine([str(run.folder) for run in runs], factors)
    say(found.said())
    remove_unfinished(folder)
    found.write(folder, report)
    deliver_all(runs, folder)
    return found.sums


def _pass(task: Task, world: World, device: str, stack: ExitStack) -> tuple[ListRun, str, list[float] | None]:
    """Compute one network's rows. Return (its run, its protocol in words, its thresholds)."""
    order = range(world.rank, len(task.entries), world.size)
    with task.opened(world, device) as (loader, network, protocol):
        kept = FeatureFile(task.folder, order, [len(task.names)], "float32", world, PROBABILITIES, task.kind)
        values = predictions_of(task.naming(network))
        run = stack.enter_context(open_list_run(task, network, world, loader, kept))
        for _ in run.complete(partial(compute_rows, network, loader, task.entries, values, keep=kept.take)):
            pass
    return run, protocol, network.thresholds


def _deliver(runs: Sequence[ListRun], rows: MeanRows, tasks: Sequence[Task], folder: Path, protocol: str) -> int:
    """Write the mean and each network's results. The journals go last, so that the same command can resume."""
    first = tasks[0]
    for number, row in enumerate(rows):
        if first.single and "error" in row:
            raise InputError(f"{row['video']}: {row['error']}")
        if number // runs[0].batch_size % first.flags.log_interval == 0:
            say(describe(row) if first.single else describe_in_list(row, first.kind))
    remove_unfinished(folder)
    unreadable = write_list_results(first.flags, folder, rows, runs[0].batch_size)
    if first.report:
        about = {"videos": first.section.video_path or first.section.filelist, "protocol": protocol}
        frames = partial(frames_seen, first.config, first.section, first.entries)
        write_prediction_page(folder / "report.html", rows, about, frames, beside=folder, kind=first.kind)
    for run, task in zip(runs, tasks):
        write_list_results(task.flags, run.folder, run.journal.rows(), run.batch_size, run.features)
        write_text(run.folder / "config.yaml", task.config.dump())
    deliver_all(runs, folder)
    return unreadable

"""Measures a network on the list of TEST: python eval.py --config=./configs/tsn.yaml --weights=TSN.pdparams

Writes to --save_dir: metrics.json, predictions.csv, confusion.csv, probabilities.npz, config.yaml, report.html and
evaluation.jsonl, from which a run that was ended goes on with the same command.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also with PYTHONSAFEPATH=1
from utils.cli import run
from utils.config.session import announce, open_networks

if TYPE_CHECKING:
    from concurrent.futures import Future

    from inference.finding import FoundNetwork
    from metrics.sums import EvaluationSums
    from reader.filelist import FileList
    from results.journal import Rows
    from results.list_run import ListRun
    from utils.config.flags import Flags
    from utils.config.loading import Config
    from utils.processes.ranks import World


@dataclass(frozen=True)
class Evaluation:
    """A pass over the list with one network, whose rows are all known."""

    run: "ListRun"
    sums: "EvaluationSums"
    protocol: str
    write: "Callable[[Rows], None]"  # all files but the journal


def main() -> None:
    flags, networks = open_networks("eval")
    config = networks[0].config

    from inference.finding import find_early

    finding = None if flags.nproc else find_early(config, config.test)

    from reader.build import read_section_list
    from reader.class_names import class_names
    from results.pages.extras import wants_report
    from results.task import check_readable
    from utils.log import format_metrics, say_in
    from utils.processes.world import open_world
    from utils.storage.files import check_save_dir

    report = wants_report(flags.report)
    check_save_dir(flags.save_dir)
    lists = [read_section_list(one.config, one.config.test) for one in networks]
    names = [class_names(one.config.infer.kinetics_labels, one.config.model.num_classes) for one in networks]
    if len(networks) > 1:
        from results.several import check_alike

        check_alike(names, lists, [one.config.test.weights for one in networks])
    world, device = open_world(flags, config, config.test, len(lists[0]))
    with ExitStack() as stack:
        if len(networks) > 1 and world.is_main:
            from utils.storage.lock import locked_folder

            stack.enter_context(locked_folder(Path(flags.save_dir), f"--save_dir={flags.save_dir}"))
        done = []
        for one, *what in zip(networks, lists, names):
            passing = evaluate(one.flags, one.config, *what, report, world, device, None if done else finding)
            done.append(stack.enter_context(passing))
        if not world.is_main:
            return
        if len(done) > 1:
            from results.several import deliver_evaluations

            factors = [one.factor for one in networks]
            sums, protocol = deliver_evaluations(done, factors, Path(flags.save_dir), report)
            where = flags.save_dir
        else:
            [only] = done
            sums, protocol, where = only.sums, only.protocol, only.run.deliver(only.write)
    counts = f"videos: {sums.videos}, unreadable: {sums.unreadable.number}"
    figures = format_metrics(sums.accuracy.means, ("Loss", "TOP1_ACC", "TOP5_ACC"))
    say_in("TEST", f"{figures}, {counts}, {protocol}; written to {where}")
    if flags.strict:
        check_readable(sums.unreadable.number, len(lists[0]), strict=True)


@contextmanager
def evaluate(
    flags: "Flags", config: "Config", entries: "FileList", names: Sequence[str], report: bool, world: "World",
    device: str, finding: "Future[FoundNetwork] | None",
) -> "Iterator[Evaluation | None]":  # fmt: skip
    """Give the evaluation of one network, whose journal stays this run's in the context; None but for rank 0."""
    from inference.network import load_network
    from inference.rows import EVALUATION, compute_rows, evaluations_of
    from metrics.sums import sum_rows, wilson
    from reader.build import build_loader, describe_protocol, in_train_list
    from results.feature_file import PROBABILITIES, FeatureFile
    from results.fingerprint import fingerprint
    from results.journal import read_rows
    from results.list_run import ListRun
    from results.pages.evaluation import write_evaluation_page
    from results.pages.frames import frames_seen
    from results.probabilities import write_rows_probabilities
    from results.row_checks import evaluation_fits
    from results.tables import write_evaluation
    from utils.errors import InputError
    from utils.log import format_metrics, say, say_in
    from utils.storage.files import write_text, written_to
    from utils.storage.objects import is_remote

    section, num_classes = config.test, config.model.num_classes
    loader = build_loader(config, section, entries, batch_size=-(-section.batch_size // world.size), world=world)
    with ExitStack() as reading:  # its processes start while the network is loaded
        reading.enter_context(loader)
        network = load_network(config, section, device, len(entries), world.ranks_here, finding)
        announce(flags, config)
        protocol = f"{describe_protocol(section)}, {network.description}"
        say(f"evaluating {len(entries)} videos of {section.filelist}: {protocol}")
        repeated = entries.repeated()
        different = 1 - repeated / len(entries)
        if repeated:
            say(f"{section.filelist}: lines with a video that an earlier line has: {repeated}; each line counts")

        if trained := in_train_list(config, entries):
            say(f"{trained} of these {len(entries)} videos stand in TRAIN's list {config.train.filelist} as well")

        order = range(world.rank, len(entries), world.size)
        kept = FeatureFile(written_to(flags.save_dir), order, [num_classes], "float32", world, PROBABILITIES)
        compute = partial(compute_rows, network, loader, entries, evaluations_of(names), keep=kept.take)
        what = fingerprint("eval", config, section, network, names, entries, world.size)
        fits = evaluation_fits(names, entries)
        with ListRun(EVALUATION, flags, what, loader.batch_size, world, kept, fits) as run:
            so_far = sum_rows(read_rows(run.journal.path), num_classes)
            for number, rows in run.complete(compute):
                for row in rows:
                    so_far.add(row)
                    if "error" in row:
                        say(f"unreadable, not counted: {row['video']}: {row['error']}", every_rank=True)
                if number % flags.log_interval == 0:
                    means = format_metrics(so_far.accuracy.means)
                    say_in("TEST", f"batch {number}, so far {means}, videos: {so_far.videos}")
            reading.close()
            if not world.is_main:
                yield None
                return
            sums = sum_rows(run.journal.rows(), num_classes)
            means = sums.accuracy.means

            def write(rows) -> None:
                if sums.videos == 0:
                    [(_, error), *_] = sums.unreadable.first
                    raise InputError(f"{section.filelist}: none of its {len(entries)} videos can be read: {error}")
                counted = {"videos": sums.videos, "repeated": repeated, "in_train_list": trained}
                metrics = {
                    **means,
                    "top1_interval": wilson(sums.right, sums.videos, sums.videos * different),
                    **sums.class_means,
                    **counted,
                    "protocol": protocol,
                }
                write_evaluation(run.folder, rows, sums, metrics, names)
                write_rows_probabilities(run.folder, rows, kept, names)
                write_text(run.folder / "config.yaml", config.dump())
                if report:
                    about = {"list": section.filelist, "how": protocol, "configuration": config.dump()}
                    frames = partial(frames_seen, config, section, entries)
                    beside = None if is_remote(flags.save_dir) else run.folder
                    page = run.folder / "report.html"
                    write_evaluation_page(page, rows, sums, metrics, names, about, frames, beside)

            yield Evaluation(run, sums, protocol, write)


if __name__ == "__main__":
    run(main)

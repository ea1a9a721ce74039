"""Run one pass of eval.py: evaluate one network over a list."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from inference.finding import FoundNetwork
from inference.rows import compute_rows
from metrics.sums import EvaluationSums
from reader.build import in_train_list
from reader.filelist import FileList
from results.evaluations import RESULTS
from results.fingerprint import fingerprint
from results.journal import Rows, read_rows
from results.list_run import ListRun
from results.opening import opened
from results.pages.frames import frames_seen
from results.parquet import write_evaluation_parquet
from utils.config.flags import Flags
from utils.config.foreign import list_advice
from utils.config.loading import Config
from utils.errors import InputError
from utils.log import format_metrics, say, say_in
from utils.processes.ranks import World
from utils.storage.files import write_text, written_to
from utils.storage.objects import is_remote


@dataclass(frozen=True)
class Evaluation:
    """A finished pass over the list with one network: all rows are known."""

    run: ListRun
    sums: EvaluationSums
    write: Callable[[Rows], None]  # writes all files except the journal


@contextmanager
def evaluate(
    flags: Flags, config: Config, entries: FileList, names: Sequence[str], report: bool, world: World,
    device: str, finding: Future[FoundNetwork] | None,
) -> Iterator[Evaluation | None]:  # fmt: skip
    """Yield the evaluation of one network, or None except on rank 0. Within the context, the journal stays locked."""
    section = config.test
    with ExitStack() as reading:
        data = f"{len(entries)} videos of {section.filelist}"
        how = flags, config, section, entries, data, True, world, device, finding
        loader, network, protocol = reading.enter_context(opened(*how))
        repeated = entries.repeated()
        different = 1 - repeated / len(entries)
        if repeated:
            say(f"{section.filelist}: lines that repeat a video of an earlier line: {repeated}; each line counts")

        if trained := in_train_list(config, entries):
            say(f"{trained} of these {len(entries)} videos are also in TRAIN's list {config.train.filelist}")

        results = RESULTS[config.model.labels](names, network.thresholds)
        kept = results.kept(written_to(flags.save_dir), range(world.rank, len(entries), world.size), world)
        compute = partial(compute_rows, network, loader, entries, results.values, keep=kept and kept.take)
        what = fingerprint("eval", config, section, network, names, entries, world.size)
        fits = results.fits(entries)
        with ListRun(results.kind, flags, what, loader.batch_size, world, kept, fits) as run:
            so_far = results.sums(read_rows(run.journal.path))
            for number, rows in run.complete(compute):
                for row in rows:
                    so_far.add(row)
                    if "error" in row:
                        say(f"unreadable, not counted: {row['video']}: {row['error']}", every_rank=True)
                if number % flags.log_interval == 0:
                    means = format_metrics(results.so_far(so_far))
                    say_in("TEST", f"batch {number}, so far {means}, videos: {so_far.videos}")
            reading.close()
            if not world.is_main:
                yield None
                return
            sums = results.sums(run.journal.rows())

            def write(rows) -> None:
                if sums.videos == 0:
                    [(video, error), *_] = sums.unreadable.first
                    why = f"{error}{list_advice(video, error)}"
                    raise InputError(f"{section.filelist}: none of its {len(entries)} videos can be read: {why}")
                counted = {"videos": sums.videos, "repeated": repeated, "in_train_list": trained}
                metrics = {**results.metrics(sums, different), **counted, "protocol": protocol}
                results.write(run.folder, rows, sums, metrics, kept)
                if flags.format == "parquet":
                    write_evaluation_parquet(run.folder, rows, kept, len(names))
                write_text(run.folder / "config.yaml", config.dump())
                if report:
                    about = {"list": section.filelist, "protocol": protocol, "configuration": config.dump()}
                    frames = partial(frames_seen, config, section, entries)
                    beside = None if is_remote(flags.save_dir) else run.folder
                    page = run.folder / "report.html"
                    results.write_page(page, rows, sums, metrics, about, frames, beside)

            yield Evaluation(run, sums, write)

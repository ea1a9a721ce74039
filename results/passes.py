"""Predict one video or a list, from frames to files."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from inference.network import Network
from inference.rows import PREDICTION, compute_rows, predictions_of
from inference.views import Output
from reader.loader import Batch, Loader
from results.feature_file import FeatureFile, write_features
from results.leftovers import replace_earlier
from results.list_results import open_features, write_list_results
from results.list_run import ListRun, remove_unfinished
from results.pages.page import prepare_page
from results.tables import write_predictions
from results.task import Task, describe, describe_in_list
from utils.errors import InputError
from utils.log import say
from utils.processes.ranks import World
from utils.storage.files import publish, write_text

# positions -> the rows of each batch; for keep, see compute_rows
Compute = Callable[..., Iterator[list[dict]]]


def predict(task: Task, network: Network, world: World, loader: Loader, protocol: str) -> tuple[int, str] | None:
    """Return (unreadable videos, where the files are), or None except on rank 0.

    loader: of the task's videos. protocol: how videos are read and computed, in words.

    Raises:
        InputError: the single video cannot be read.
        RunError: an output is not finite, or a file cannot be written.
    """
    values = predictions_of(task.naming(network))
    rows = partial(compute_rows, network, loader, task.entries, values)
    if not task.single:
        return _predict_list(task, network, world, loader, rows, protocol)
    return _predict_one(task, network, rows, protocol) if world.is_main else None


def _predict_one(task: Task, network: Network, rows: Compute, protocol: str) -> tuple[int, str]:
    """Predict the only video, whose folder is locked."""
    flags, folder, kept = task.flags, task.folder, []

    def keep(batch: Batch, output: Output) -> None:
        kept.append((output.features, batch.frames))

    # Meanwhile the video is read and computed, mostly in other processes.
    preparing = prepare_page("video.html") if task.report else None
    [[row]] = rows(range(1), keep)
    if preparing:
        preparing.join()
    if "error" in row:
        raise InputError(f"{row['video']}: {row['error']}")
    say(describe(row))
    [(features, [clip])] = kept
    remove_unfinished(folder)
    unreadable = write_predictions(folder, [row])
    if flags.features:
        write_features(folder, features, task.section.feature_dtype, flags.features == "segments")
    write_text(folder / "config.yaml", task.config.dump())
    task.show([row], protocol, network, clip)
    replace_earlier(folder)
    ended = any(folder.glob("*.partial*"))  # an unfinished run over a list, which may be resumed
    return unreadable, publish(folder, flags.save_dir, clear=not ended)


def _predict_list(
    task: Task, network: Network, world: World, loader: Loader, rows: Compute, protocol: str
) -> tuple[int, str] | None:
    order = range(world.rank, len(task.entries), world.size)
    features = open_features(task.flags.features, task.section, network.num_features, task.folder, order, world)
    with open_list_run(task, network, world, loader, features) as run:
        for number, batch in run.complete(partial(rows, keep=features and features.take)):
            for row in batch if number % task.flags.log_interval == 0 else ():
                say(describe_in_list(row, task.kind), every_rank=True)
        return deliver_predictions(run, task, protocol, network) if world.is_main else None


def open_list_run(task: Task, network: Network, world: World, loader: Loader, features: FeatureFile | None) -> ListRun:
    """Return the run over a task's list, a context manager. features: the values kept beside the rows."""
    how = task.fingerprint(network, world.size), loader.batch_size, world, features
    return ListRun(PREDICTION, task.flags, *how, task.fits())


def deliver_predictions(run: ListRun, task: Task, protocol: str, network: Network | None = None) -> tuple[int, str]:
    """Return (unreadable videos, where the files are) for a list with complete rows. network: see `Task.show`."""
    unreadable = 0

    def write(rows: Iterable[dict]) -> None:
        nonlocal unreadable
        unreadable = write_list_results(task.flags, run.folder, rows, run.batch_size, run.features)
        write_text(run.folder / "config.yaml", task.config.dump())
        task.show(rows, protocol, network)

    where = run.deliver(write)
    return unreadable, where

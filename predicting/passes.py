"""One video, or a list of them, from frames to files."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from inference.api import Classifier
from inference.network import Network
from metrics.features import FeatureFile, remove_partial_features, write_features
from metrics.head import run_head
from metrics.journal import open_journal
from metrics.report import write_predictions
from metrics.rows import PREDICTION, complete
from predicting.results import feature_shape, write_list_results
from predicting.task import Task, describe
from reader.build import build_loader
from reader.loader import Batch, Loader
from utils.errors import InputError
from utils.files import make_save_dir, publish
from utils.log import say
from utils.processes.ranks import World
from utils.storage import is_remote

# positions -> the rows of each batch of them
Rows = Callable[[Sequence[int]], Iterator[list[dict]]]


def predict(task: Task, network: Network, world: World, protocol: str) -> tuple[int, str] | None:
    """(unreadable videos, where the files are); None for any rank but the first.

    protocol: how videos are read and computed, in words.

    Raises:
        InputError: the single video cannot be read.
        RunError: an output is not finite, or a file cannot be written.
    """
    size = -(-task.section.batch_size // world.size)
    loader = build_loader(task.config, task.section, task.entries, needs_label=False, batch_size=size, world=world)
    rows = partial(Classifier.of(task.config, task.section, task.names, network).rows, loader, task.entries)
    if not task.single:
        return _predict_list(task, network, world, loader, rows, protocol)
    return _predict_one(task, network, loader, rows, protocol) if world.is_main else None


def _predict_one(task: Task, network: Network, loader: Loader, rows: Rows, protocol: str) -> tuple[int, str]:
    flags, folder, kept = task.flags, task.folder, []

    def keep(batch: Batch, features: np.ndarray) -> None:
        kept.append(features)

    with loader:
        [[row]] = rows(range(1), keep)
    if "error" in row:
        raise InputError(f"{row['video']}: {row['error']}")
    say(describe(row))
    unreadable = write_predictions(make_save_dir(flags.save_dir), [row])
    if flags.features:
        write_features(folder, kept[0], task.section.feature_dtype, flags.features == "segments")
    task.show([row], protocol, network)
    ended = any(folder.glob("*.partial*"))  # a run over a list, which may yet go on
    return unreadable, publish(folder, flags.save_dir, clear=not ended)


def _predict_list(
    task: Task, network: Network, world: World, loader: Loader, rows: Rows, protocol: str
) -> tuple[int, str] | None:
    flags, section, folder = task.flags, task.section, task.folder
    order, features = range(world.rank, len(task.entries), world.size), None
    if flags.features:
        shape = feature_shape(flags.features, section, network.num_features)
        features = FeatureFile(folder, order, shape, section.feature_dtype, world)
    facts = {"features": flags.features}
    head = run_head("predict", task.config, section, network, task.names, task.entries, world.size, **facts)
    how = (order, loader.batch_size, world, flags.restart, is_remote(flags.save_dir), features)
    with open_journal(folder, "predictions", head, PREDICTION, *how) as journal:
        if world.is_main:
            remove_partial_features(folder, keep=features.parts if features else ())
        with loader:
            for number, batch in complete(journal, partial(rows, keep=features and features.put), "prediction"):
                for row in batch if number % flags.log_interval == 0 else ():
                    say(describe(row), every_rank=True)
        world.gather(None)  # all ranks are done
        if not world.is_main:
            return None
        unreadable = write_list_results(flags, folder, journal, features)
        task.show(journal.rows(), protocol, network)
        journal.finish()
        where = publish(folder, flags.save_dir)
        if features:
            features.discard()
        journal.discard()
    return unreadable, where

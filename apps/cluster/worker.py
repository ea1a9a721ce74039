"""Compute shards of the list on one machine of the cluster, with the same network and readers as a run without it."""

import os
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from apps.cluster.parts import Parts, write_part
from apps.cluster.shards import Shard
from reader.filelist import Entry
from utils.config.keys import InferConfig
from utils.config.loading import Config
from utils.errors import InputError, RunError, os_errors
from utils.processes.limits import GRANT

Result = TypeVar("Result")


@dataclass(frozen=True)
class PredictionJob:
    """The job, the same for every worker of a run. features: as in the flag."""

    config: Config
    section: InferConfig
    names: Sequence[str]
    num_videos: int
    save_dir: str
    features: bool | str
    threshold: float = 0.0


@dataclass(frozen=True)
class NetworkFacts:
    """The facts about a worker's network; see inference.network.Network."""

    weights: str
    precision: str
    description: str
    num_features: int
    batch_size: int  # videos per batch of the reader
    thresholds: list[float] | None = None


@dataclass(frozen=True)
class Failure:
    """Why something failed, in one line. `users`: the user caused it."""

    reason: str
    users: bool = False


class Worker:
    """The actor's class. Its methods return a Failure instead of raising, because Ray transfers exceptions badly."""

    def __init__(self, job: PredictionJob, folder: str, cores: int, on_gpu: bool):
        """folder: the run's working folder, the base of relative paths."""
        os.environ[GRANT] = str(cores)
        os.environ["OMP_NUM_THREADS"] = str(cores)
        self._job, self._folder = job, folder
        self._section = job.section if on_gpu else replace(job.section, use_gpu=False)
        self._entries = _Window(job.num_videos)

    def open(self) -> NetworkFacts | Failure:
        return safely(self._open)

    def compute(self, shard: Shard, entries: Sequence[Entry]) -> int | Failure:
        """Compute a shard, write its part, and return its number of rows. entries: those of the shard's positions."""
        return safely(lambda: self._compute(shard, entries))

    def _open(self) -> NetworkFacts:
        enter(self._folder)
        self._parts = Parts(self._job.save_dir)
        from reader.build import build_loader
        from utils.processes.device import choose_device

        job, section = self._job, self._section
        device = choose_device(section.use_gpu, job.config.demands_gpu and section.use_gpu)

        from inference.network import load_network

        self._network = network = load_network(job.config, section, device, job.num_videos)
        self._loader = build_loader(job.config, section, self._entries, needs_label=False)
        facts = network.weights, network.precision, network.description, network.num_features
        return NetworkFacts(*facts, self._loader.batch_size, network.thresholds)

    def _compute(self, shard: Shard, entries: Sequence[Entry]) -> int:
        from inference.label_kinds import KINDS
        from inference.rows import compute_rows, predictions_of
        from results.list_results import open_features

        job, section, network = self._job, self._section, self._network
        self._entries.first, self._entries.known = shard.first, entries
        order = range(shard.first, shard.last)
        with self._parts.making() as folder:
            features = open_features(job.features, section, network.num_features, folder, order)
            if features is not None:
                features.open(0)
            kind = KINDS[job.config.model.labels]
            values = predictions_of(kind.naming(job.names, section.topk, job.threshold, network.thresholds))
            keep = features and features.take
            rows = compute_rows(network, self._loader, self._entries, values, order, keep)
            write_part(self._parts, shard, features, rows, folder)
        return len(shard)


class _Window(Sequence[Entry]):
    """Entries of a list by their positions in the list, for one shard only."""

    def __init__(self, length: int):
        self._length, self.first, self.known = length, 0, ()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> Entry:
        return self.known[position - self.first]


def enter(folder: str) -> None:
    """Make the run's working folder this process's. Raises InputError if this machine lacks that path."""
    with os_errors(InputError, f"{folder}: this machine lacks the run's working folder"):
        os.chdir(folder)


def safely(work: Callable[[], Result]) -> Result | Failure:
    """Return the result of `work`, or a Failure with the reason."""
    try:
        return work()
    except (InputError, RunError) as error:
        return Failure(str(error), isinstance(error, InputError))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return Failure(f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})")

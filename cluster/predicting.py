"""predict.py's pass over a list, on the machines of a cluster: what it leaves is what one machine leaves."""

import os
from collections.abc import Sequence
from functools import partial

from cluster.connection import connected
from cluster.parts import Assembly, Parts
from cluster.pool import ATTEMPTS, Pool, slots_of, start_actor
from cluster.shards import cut
from cluster.worker import Facts, Job, Worker
from metrics.features import FeatureFile, remove_partial_features
from metrics.head import run_head
from metrics.journal import open_journal, part_path
from metrics.rows import PREDICTION
from predicting.results import feature_shape, whole_batches, write_list_results
from predicting.task import Task
from reader.build import describe_protocol
from reader.filelist import Entry
from utils.config.session import announce
from utils.errors import RunError
from utils.files import publish, written_to
from utils.lock import open_locked
from utils.log import progress_bar, say
from utils.processes.ranks import World
from utils.storage import is_remote


def predict_on_cluster(task: Task) -> None:
    """Writes what predict.py writes of a list.

    Raises InputError and RunError, the latter also where shards have failed: the others' parts are kept.
    """
    flags, config, section, entries, names = task.flags, task.config, task.section, task.entries, task.names
    announce(flags, config)
    total, remote = len(entries), is_remote(flags.save_dir)
    parts, folder = Parts(flags.save_dir), written_to(flags.save_dir)
    job = Job(config, section, names, total, flags.save_dir, flags.features)
    journal_path = part_path(folder, "predictions")
    if journal_path.exists():
        open_locked(journal_path).close()  # before workers are waited for, which another run of the command may have
    with connected(flags.ray) as ray:
        slots = partial(slots_of, wants_gpu=section.use_gpu, needs_gpu=section.use_gpu and config.demands_gpu)
        pool = Pool(
            ray, lambda slot: start_actor(ray, slot, Worker, job, os.getcwd(), slot.cores, slot.on_gpu), slots, _differ
        )
        network = pool.facts()
        protocol = f"{describe_protocol(section)}, {network.description}"
        say(f"predicting {total} videos: {protocol}")
        features = None
        if flags.features:
            shape = feature_shape(flags.features, section, network.num_features)
            features = FeatureFile(folder, range(total), shape, section.feature_dtype)
        head = run_head("predict", config, section, network, names, entries, features=flags.features)
        how = (range(total), network.batch_size, World(), flags.restart, remote, features)
        with open_journal(folder, "predictions", head, PREDICTION, *how) as journal:
            remove_partial_features(folder, keep=features.parts if features else ())
            if flags.restart:
                parts.remove(parts.files())
            shards = cut(head, whole_batches(flags.shard_size, network.batch_size))
            assembly = Assembly(parts, shards, journal, features)
            _complete(pool, assembly, len(shards), entries)
            unreadable = write_list_results(flags, folder, journal, features)
            task.show(journal.rows(), protocol)
            journal.finish()
            where = publish(folder, flags.save_dir)
            parts.remove(parts.files())
            if features:
                features.discard()
            journal.discard()
    say(f"predicted {total - unreadable} of {total} videos, {unreadable} unreadable; written to {where}")


def _complete(pool: Pool, assembly: Assembly, number: int, entries: Sequence[Entry]) -> None:
    """Has the shards computed whose parts are missing. Raises RunError where some fail."""
    missing = assembly.missing
    if len(missing) < number:
        say(f"{number - len(missing)} of {number} shards are known already")
    known = len(entries) - sum(map(len, missing))
    with progress_bar(len(entries), "prediction", known) as bar:
        for shard, _ in pool.answers(missing, lambda shard: (shard, entries[shard.first : shard.last])):
            assembly.add(shard)
            bar.update(len(shard))
    for shard, reason in pool.failed.items():
        say(f"{shard} failed {ATTEMPTS} times: {reason}")
    if pool.failed:
        raise RunError(f"{len(pool.failed)} of {number} shards failed; the same command does these alone")


def _differ(first: Facts, other: Facts) -> str:
    """Why a worker would compute other numbers than the first one; "": it would not."""
    if (first.weights, first.arithmetic) == (other.weights, other.arithmetic):
        return ""
    return f"it has {other.description}, the first one {first.description}"

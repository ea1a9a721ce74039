"""Run predict.py over a list on the machines of a cluster, with the same results as on one machine."""

import os
from collections.abc import Sequence
from functools import partial

from apps.cluster.connection import connected
from apps.cluster.parts import Assembly, Parts
from apps.cluster.pool import ATTEMPTS, Pool, slots_of, start_actor
from apps.cluster.shards import cut
from apps.cluster.worker import NetworkFacts, PredictionJob, Worker
from inference.announcing import announce_network, weights_and_precision
from inference.rows import PREDICTION
from reader.build import describe_protocol
from reader.filelist import Entry
from results.list_results import open_features, whole_batches
from results.list_run import ListRun
from results.passes import deliver_predictions
from results.task import Task, check_readable
from utils.errors import RunError
from utils.log import progress_bar, say
from utils.storage.files import written_to
from utils.storage.lock import FolderLock


def predict_on_cluster(task: Task) -> None:
    """Predict a list, and write the files of predict.py.

    Raises InputError and RunError. If shards fail, the parts of the other shards are kept.
    """
    flags, config, section, entries, names = task.flags, task.config, task.section, task.entries, task.names
    total = len(entries)
    parts, folder = Parts(flags.save_dir), written_to(flags.save_dir)
    job = PredictionJob(config, section, names, total, flags.save_dir, flags.features, flags.threshold)
    if folder.exists():  # before waiting for workers, which another run may hold
        FolderLock(folder, f"--save_dir={folder}").release()
    with connected(flags.ray) as ray:
        slots = partial(slots_of, wants_gpu=section.use_gpu, needs_gpu=section.use_gpu and config.demands_gpu)
        pool = Pool(
            ray, lambda slot: start_actor(ray, slot, Worker, job, os.getcwd(), slot.cores, slot.on_gpu), slots, _differ
        )
        network = pool.facts()
        protocol = f"{describe_protocol(section)}, {network.description}"
        announce_network(flags, config, section, task.data, *weights_and_precision(network))
        features = open_features(flags.features, section, network.num_features, folder, range(total))
        what = task.fingerprint(network)
        with ListRun(PREDICTION, flags, what, network.batch_size, features=features, fits=task.fits()) as run:
            if flags.restart:
                parts.remove(parts.files())
            shards = cut(what, whole_batches(flags.shard_size, network.batch_size))
            assembly = Assembly(parts, shards, run.journal, features)
            _complete(pool, assembly, len(shards), entries)
            run.journal.settle()
            unreadable, where = deliver_predictions(run, task, protocol)
            parts.remove(parts.files())
    say(f"predicted {total - unreadable} of {total} videos, {unreadable} unreadable; written to {where}")
    check_readable(unreadable, total, flags.strict)


def _complete(pool: Pool, assembly: Assembly, number: int, entries: Sequence[Entry]) -> None:
    """Compute the shards whose parts are missing. Raises RunError if some fail."""
    missing = assembly.missing
    if len(missing) < number:
        say(f"{number - len(missing)} of {number} shards are done already")
    known = len(entries) - sum(map(len, missing))
    with progress_bar(len(entries), "prediction", known) as bar:
        for shard, _ in pool.answers(missing, lambda shard: (shard, entries[shard.first : shard.last])):
            assembly.add(shard)
            bar.update(len(shard))
    for shard, reason in pool.failed.items():
        say(f"{shard} failed {ATTEMPTS} times: {reason}")
    if pool.failed:
        raise RunError(f"{len(pool.failed)} of {number} shards failed; run the command again to compute only these")


def _differ(first: NetworkFacts, other: NetworkFacts) -> str:
    """Return why a worker would compute other numbers than the first one; "" if it would not."""
    if (first.weights, first.precision, first.thresholds) == (other.weights, other.precision, other.thresholds):
        return ""
    if (first.weights, first.precision) == (other.weights, other.precision):
        return "its weights have other thresholds"
    return f"it loaded {other.description}, but the first worker loaded {first.description}"

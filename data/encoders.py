"""Videos re-encoded by many processes at once, of this machine or of a cluster's."""

import os
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from multiprocessing.connection import Connection

from data.encoding import Job, reencode
from reader.decode import VideoError
from reader.workers import describe_failure
from utils.errors import RunError
from utils.log import progress_bar
from utils.processes.child import Child, NoAnswer
from utils.processes.limits import GRANT, available_cores
from utils.processes.pool import ask_all

# Seconds after which a video is given up.
TIME_LIMIT = 3600.0
# Videos that a machine of a cluster is given at a time.
_AT_ONCE = 50


def _serve(pipe: Connection) -> None:
    """Re-encodes jobs until the pipe closes."""
    pipe.send("ready")
    while True:
        job = pipe.recv()
        result = "done", None
        try:
            reencode(job)
        except VideoError as error:
            result = "unreadable", error.reason
        except RunError as error:
            result = "failed", str(error)
        except Exception as error:  # not the video's fault: the parent stops with this message
            result = "failed", describe_failure(job.source, error)
        pipe.send(result)


def reencode_all(jobs: Sequence[Job], workers: int) -> dict[str, str]:
    """The sources that cannot be re-encoded, with their reasons. Raises RunError for what is no fault of a video."""
    children = [Child("an encoder process", _serve) for _ in range(min(workers, len(jobs)))]
    unreadable: dict[str, str] = {}
    with progress_bar(len(jobs), "re-encoding") as bar, closing(ask_all(children, _reencode_apart, jobs)) as answers:
        for source, reason in answers:
            if reason:
                unreadable[source] = reason
            bar.update()
    return unreadable


def _reencode_apart(child: Child, job: Job) -> tuple[str, str | None]:
    """(the source, why it cannot be re-encoded or None)."""
    try:
        kind, content = child.ask(job, TIME_LIMIT)
    except NoAnswer as error:
        return job.source, str(error)
    if kind == "failed":
        raise RunError(content)
    return job.source, content


def reencode_on_cluster(jobs: Sequence[Job], where: str) -> dict[str, str]:
    """What `reencode_all` returns, on the machines of a cluster, which share all folders. where: as --ray.

    Raises InputError where there is no such cluster, RunError where some videos could not be tried.
    """
    from cluster.connection import connected
    from cluster.pool import ATTEMPTS, Pool, slots_of, start_actor

    tasks = [(first, min(first + _AT_ONCE, len(jobs))) for first in range(0, len(jobs), _AT_ONCE)]
    unreadable: dict[str, str] = {}
    with connected(where) as ray, progress_bar(len(jobs), "re-encoding") as bar:
        slots = partial(slots_of, wants_gpu=False, needs_gpu=False)
        pool = Pool(ray, lambda slot: start_actor(ray, slot, Encoder, os.getcwd(), slot.cores), slots)
        for (first, last), found in pool.answers(tasks, lambda task: ([jobs[i] for i in range(*task)],)):
            unreadable |= found
            bar.update(last - first)
    if pool.failed:
        reason = next(iter(pool.failed.values()))
        number = sum(last - first for first, last in pool.failed)
        raise RunError(f"{number} of {len(jobs)} videos failed {ATTEMPTS} times; the last one: {reason}")
    return unreadable


class Encoder:
    """The actor's class on each machine of a cluster."""

    def __init__(self, folder: str, cores: int):
        os.environ[GRANT] = str(cores)
        self._folder = folder

    def open(self):
        """None, or a Failure where the machine lacks the run's working folder."""
        from cluster.worker import enter, safely

        return safely(lambda: enter(self._folder))

    def compute(self, jobs: list[Job]):
        """What `reencode_all` returns of the jobs that an earlier attempt has left; a Failure where it raises."""
        from cluster.worker import safely

        left = [job for job in jobs if not job.target.exists()]
        return safely(lambda: reencode_all(left, available_cores()))

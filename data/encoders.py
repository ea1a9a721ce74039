"""Videos re-encoded by many processes at once, of this machine or of a cluster's."""

import os
import queue
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection

from data.encoding import Job, reencode
from reader.decode import VideoError
from reader.workers import describe_failure
from utils.errors import RunError
from utils.log import progress_bar
from utils.processes.child import Child, NoAnswer
from utils.processes.limits import GRANT, available_cores

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
    idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
    for child in children:
        idle.put(child)

    def reencode_apart(job: Job) -> str | None:
        child = idle.get()  # there are as many as threads: this never waits
        try:
            kind, content = child.ask(job, TIME_LIMIT)
        except NoAnswer as error:
            return str(error)
        finally:
            idle.put(child)
        if kind == "failed":
            raise RunError(content)
        return content

    unreadable: dict[str, str] = {}
    started: dict[Future, Job] = {}
    todo = iter(jobs)
    pool = ThreadPoolExecutor(max(1, len(children)))
    try:
        with progress_bar(len(jobs), "re-encoding") as bar:
            while True:
                for job in islice(todo, 2 * len(children) - len(started)):  # of a million, few wait in the pool
                    started[pool.submit(reencode_apart, job)] = job
                if not started:
                    break
                for future in wait(started, return_when=FIRST_COMPLETED).done:
                    source = started.pop(future).source
                    if reason := future.result():
                        unreadable[source] = reason
                    bar.update()
    finally:  # after Ctrl-C and SIGTERM, too: no process is left behind
        for child in children:
            child.close()  # the thread that waits for its answer wakes up
        pool.shutdown(cancel_futures=True)
        for child in children:
            child.kill()
    return unreadable


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

"""Re-encode videos in many processes, on this machine or on a cluster, and measure how long reading them takes."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial

from data.copies.encoding import Job, reencode
from reader.apart import TIME_LIMIT as READING_LIMIT
from reader.apart import VideoProcess, describe_failure
from reader.decode import VideoError, read_frames
from reader.frame_folder import read_folder
from reader.sampling import segment_indices
from utils.errors import RunError
from utils.log import progress_bar
from utils.processes.limits import GRANT, available_cores
from utils.processes.parallel import ask_all

TIME_LIMIT = 3600.0  # seconds for a video
# Videos that a machine of a cluster gets at a time.
_AT_ONCE = 50


def reencode_all(jobs: Sequence[Job], workers: int, done: Callable[[Job], None] = lambda job: None) -> dict[str, str]:
    """Re-encode all sources, and return {source: reason} for the unreadable ones.

    done: called for every other job. Raises RunError for faults that are not a video's.
    """
    number = min(workers, len(jobs))
    # No memory limit: how much x264 needs depends on the settings.
    children = [VideoProcess(_encode, TIME_LIMIT, name="an encoder process", limited=False) for _ in range(number)]
    ask = lambda process, job: (job, process.failure(job.source, job))  # noqa: E731
    unreadable: dict[str, str] = {}
    with progress_bar(len(jobs), "re-encoding") as bar, closing(ask_all(children, ask, jobs)) as answers:
        for job, reason in answers:
            if reason is not None:
                unreadable[job.source] = reason
            else:
                done(job)
            bar.update()
    return unreadable


def _encode(source: str, job: Job) -> None:
    try:
        reencode(job)
    except OSError as error:  # the copy's folder is to blame, not the video
        raise RunError(describe_failure(source, error)) from error


def reading_times(jobs: Sequence[Job]) -> list[tuple[float, float]]:
    """Return the processor seconds for 3 frames of (source, target), for each job whose two files can be read."""
    found = []
    with VideoProcess(_reading_time, READING_LIMIT) as process:
        for job in jobs:
            with suppress(VideoError):
                how = job.settings.filename_tmpl, job.frames
                found.append((process.answer(job.source, *how), process.answer(str(job.target))))
    return found


def _reading_time(path: str, template: str | None = None, frames: int | None = None) -> float:
    start = time.process_time()
    if template is None:
        read_frames(path, lambda n: segment_indices(n, 3))
    else:
        read_folder(path, template, frames, lambda n: segment_indices(n, 3))
    return time.process_time() - start


def reencode_on_cluster(jobs: Sequence[Job], where: str, done: Callable[[Job], None]) -> dict[str, str]:
    """Do the same as `reencode_all` on a cluster whose machines share all folders. where: the value of --ray.

    Raises InputError if there is no such cluster, RunError if some videos could not be tried.
    """
    from apps.cluster.connection import connected
    from apps.cluster.pool import ATTEMPTS, Pool, slots_of, start_actor

    tasks = [(first, min(first + _AT_ONCE, len(jobs))) for first in range(0, len(jobs), _AT_ONCE)]
    unreadable: dict[str, str] = {}
    asked: dict[tuple[int, int], list[Job]] = {}  # the jobs of a shard before the first attempt

    def ask(task: tuple[int, int]) -> tuple[list[Job]]:
        return (asked.setdefault(task, [jobs[i] for i in range(*task)]),)

    with connected(where) as ray, progress_bar(len(jobs), "re-encoding") as bar:
        slots = partial(slots_of, wants_gpu=False, needs_gpu=False)
        pool = Pool(ray, lambda slot: start_actor(ray, slot, Encoder, os.getcwd(), slot.cores), slots)
        for task, found in pool.answers(tasks, ask):
            unreadable |= found
            for job in asked.pop(task):
                if job.source not in found:
                    done(job)
            bar.update(task[1] - task[0])
    if pool.failed:
        reason = next(iter(pool.failed.values()))
        number = sum(last - first for first, last in pool.failed)
        raise RunError(f"{number} of {len(jobs)} videos failed {ATTEMPTS} times; the last one: {reason}")
    return unreadable


class Encoder:
    """The actor that runs on each machine of a cluster."""

    def __init__(self, folder: str, cores: int):
        os.environ[GRANT] = str(cores)
        self._folder = folder

    def open(self):
        """Return None, or a Failure if the machine lacks the run's working folder."""
        from apps.cluster.worker import enter, safely

        return safely(lambda: enter(self._folder))

    def compute(self, jobs: list[Job]):
        """Call `reencode_all` for the jobs without a copy yet; return a Failure if it raises."""
        from apps.cluster.worker import safely

        left = [job for job in jobs if not job.target.exists()]
        return safely(lambda: reencode_all(left, available_cores()))

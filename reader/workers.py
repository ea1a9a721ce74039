"""Reader processes: one video at a time each, killed when stuck, replaced when dead."""

import multiprocessing.connection
import queue
import traceback
from pathlib import Path

import numpy as np

from reader.dataset import ClipSpec, VideoError, read_clip
from utils.copies import temporary_folder
from utils.errors import InputError, RunError
from utils.processes.child import Child, NoAnswer

# Seconds after which a video is given up. The longest clip of Kinetics takes well under one.
TIME_LIMIT = 60.0
# Bytes that reading a video may take, on Linux. 8K with 16 reference frames just fits; 7 kB can declare any amount.
MEMORY_LIMIT = 2 << 30


class WorkerProcess(Child):
    """A reader process. One thread at a time may call `read`.

    A pipe and not shared memory: nothing can be left behind in /dev/shm, and copying a clip (0.15 to 1 MB) costs
    about 1% of decoding it.
    """

    def __init__(self, spec: ClipSpec, time_limit: float = TIME_LIMIT):
        folder = temporary_folder()
        super().__init__("a reader process", _serve, spec, folder, scratch=folder)
        self._spec, self._time_limit = spec, time_limit

    def read(self, path: str, epoch: int, index: int) -> tuple[np.ndarray, int | None]:
        """What `read_clip` returns, computed in the process.

        Raises:
            VideoError: the video cannot be read, took longer than the time limit, or killed the process twice.
            InputError: what the clips are read with is a mistake, whatever the video.
            RunError: the process could not be started, or failed for a reason that is no fault of the video.
        """
        try:
            kind, content = self.ask((path, epoch, index), self._time_limit)
        except NoAnswer as error:
            raise VideoError(path, str(error)) from None
        if kind == "clip":
            return content
        raise {"unreadable": VideoError(path, content), "input": InputError(content), "failed": RunError(content)}[kind]

    def receive(self) -> tuple[str, object]:
        """(kind, content) of the answer: "clip" with the clip and its label, or another kind with its reason."""
        kind, content = self.pipe.recv()
        if kind != "clip":
            return kind, content
        clip = np.empty(self._spec.shape, np.uint8)
        self.pipe.recv_bytes_into(clip.data.cast("B"))
        return kind, (clip, content)


class WorkerPool:
    """Some reader processes; any thread may ask, and one that is free answers."""

    def __init__(self, spec: ClipSpec, number: int, time_limit: float = TIME_LIMIT):
        self._processes = [WorkerProcess(spec, time_limit) for _ in range(number)]
        self._idle: queue.SimpleQueue[WorkerProcess] = queue.SimpleQueue()
        for process in self._processes:
            self._idle.put(process)

    def __len__(self) -> int:
        return len(self._processes)

    def read(self, path: str, epoch: int = 0, index: int = 0) -> tuple[np.ndarray, int | None]:
        """As `WorkerProcess.read`. More threads than processes wait for each other."""
        process = self._idle.get()
        try:
            return process.read(path, epoch, index)
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """Ends the processes for good; the threads that wait for their answers wake up."""
        for process in self._processes:
            process.close()

    def reap(self) -> None:
        """Returns when what `close` has ended is gone, and its temporary files; no thread may ask any more."""
        for process in self._processes:
            process.kill()


def describe_failure(path: str, error: Exception) -> str:
    """One line on an exception that is no fault of the video at `path`: what it was reading, what happened, where."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{path}: {type(error).__name__}: {error} ({where.filename}:{where.lineno})"


def _serve(pipe: multiprocessing.connection.Connection, spec: ClipSpec, folder: Path) -> None:
    """Clips for (path, epoch, index) until the pipe closes. `folder` is made for the copy of a remote video."""
    limit_memory()
    pipe.send("ready")
    while True:
        path, epoch, index = pipe.recv()
        try:
            clip, label = read_clip(spec, path, epoch, index, folder)
        except VideoError as error:
            pipe.send(("unreadable", error.reason))
        except InputError as error:
            pipe.send(("input", str(error)))
        except Exception as error:  # not the video's fault: the parent stops with this message
            pipe.send(("failed", describe_failure(path, error)))
        else:
            pipe.send(("clip", label))
            # Cast: of an array with several dimensions send_bytes would announce the first one as its length.
            pipe.send_bytes(clip.data.cast("B"))


def limit_memory() -> None:
    """Makes this process fail to get more than MEMORY_LIMIT in addition to what it has. Linux only."""
    try:
        import resource

        data_pages = int(Path("/proc/self/statm").read_text().split()[5])  # see proc(5)
    except (ImportError, OSError):
        return
    limit = data_pages * resource.getpagesize() + MEMORY_LIMIT
    limits = [
        limit if old == resource.RLIM_INFINITY else min(old, limit) for old in resource.getrlimit(resource.RLIMIT_DATA)
    ]
    resource.setrlimit(resource.RLIMIT_DATA, tuple(limits))

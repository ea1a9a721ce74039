"""A GPU that is played on the CPU: what it is asked for is computed at once, but is said to take its time.

It is for what is asked of Paddle's streams and events, and in which order; what a GPU makes of that it cannot say.
"""

import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field

import paddle
import pytest

from models import transfer


def hold_the_interpreter(seconds: float) -> None:
    """Sleep as Paddle waits for a GPU: no other thread of Python runs meanwhile."""
    if seconds > 0:
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))


class Event:
    """Of all that the GPU was asked for before."""

    def __init__(self, gpu: "FakeGpu"):
        self.gpu, self.ready = gpu, time.monotonic() + gpu.seconds

    def query(self) -> bool:
        return self.gpu.done or time.monotonic() >= self.ready

    def synchronize(self) -> None:
        hold_the_interpreter(self.ready - time.monotonic())


class Stream:
    def __init__(self, gpu: "FakeGpu", name: str):
        self.gpu, self.name = gpu, name

    def record_event(self) -> Event:
        self.gpu.events.append(Event(self.gpu))
        return self.gpu.events[-1]

    def wait_event(self, event: Event) -> None:
        self.gpu.log.append(f"{self.name} waits")


@dataclass
class FakeGpu:
    seconds: float = 0.0  # from when an event is recorded until the GPU has come to it
    done: bool = False  # it has come to all events
    log: list[str] = field(default_factory=list)  # what happened, in order: the name of a stream, and what
    events: list[Event] = field(default_factory=list)
    streams: int = 0  # made besides that of the computations

    def __post_init__(self):
        self.compute = self.current = Stream(self, "compute")

    def new_stream(self) -> Stream:
        self.streams += 1
        return Stream(self, "copies")

    @contextmanager
    def guard(self, stream: Stream):
        self.current = stream
        yield
        self.current = self.compute

    def install(self, patch: pytest.MonkeyPatch) -> "FakeGpu":
        """Take the place of Paddle's GPU for a test."""

        def copy(what: str):
            def moved(tensor: paddle.Tensor, blocking: bool) -> paddle.Tensor:
                self.log.append(f"{self.current.name} {what}{', blocking' if blocking else ''}")
                return tensor.clone()

            return moved

        patch.setattr(paddle, "CUDAPinnedPlace", paddle.CPUPlace)
        patch.setattr(paddle, "get_device", lambda: "gpu:0")
        patch.setattr(paddle.Tensor, "cuda", copy("sends"))
        patch.setattr(paddle.Tensor, "pin_memory", copy("fetches"))
        patch.setattr(paddle.device, "Stream", self.new_stream)
        patch.setattr(paddle.device, "stream_guard", self.guard)
        patch.setattr(paddle.device, "current_stream", lambda: self.current)
        transfer._copy_stream.cache_clear()  # another test's
        return self


def share_of_work_done(wait: Callable[[], object]) -> float:
    """Return how much of its work another thread does while `wait` runs, of what it does while nobody holds it up.

    The most of some turns: what else the machine has to do meanwhile only takes from it.
    """
    done, ends = 0, threading.Event()

    def work() -> None:
        nonlocal done
        while not ends.is_set():
            time.sleep(0.001)
            done += 1

    def rate(run: Callable[[], object]) -> float:
        before, start = done, time.perf_counter()
        run()
        return (done - before) / (time.perf_counter() - start)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        shares = []
        while len(shares) < 8 and max(shares, default=0.0) < 0.97:
            alone = rate(lambda: time.sleep(0.1))
            shares.append(rate(wait) / alone)
        return max(shares)
    finally:
        ends.set()
        thread.join()

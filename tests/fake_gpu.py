"""A fake GPU on the CPU. It computes at once, but its events report to be late.

It checks the calls of Paddle's streams and events, and their order. It cannot show what a GPU does with them.
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
    """Sleep without releasing the GIL, as Paddle does while it waits for a GPU."""
    if seconds > 0:
        ctypes.PyDLL(None).usleep(int(seconds * 1e6))


class Event:
    """An event after all work that the GPU was given before."""

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
    seconds: float = 0.0  # from recording an event until the GPU reaches it
    done: bool = False  # the GPU has reached all events
    log: list[str] = field(default_factory=list)  # "STREAM ACTION" in order
    events: list[Event] = field(default_factory=list)
    streams: int = 0  # further streams that were made

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
        """Replace Paddle's GPU for a test."""

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
        transfer._copy_stream.cache_clear()  # it may be from another test
        return self


def share_of_work_done(wait: Callable[[], object]) -> float:
    """Return the rate of another thread's work while `wait` runs, divided by its rate without `wait`.

    It is the maximum of several turns, because other work of the machine only lowers it.
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

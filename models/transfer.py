"""Transfer of arrays to a GPU and back while it computes, and waiting for the GPU without stopping other threads.

Paddle holds the interpreter's lock while it waits for a GPU, or waits for everything requested since; meanwhile the
threads that ask the readers stand still. Based on Paddle's documentation and sources.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import numpy as np
import paddle

POLL = 0.0005  # seconds between two looks at the GPU


class Sent(NamedTuple):
    """Tensors on the device, and the pinned memory that they come from.

    Keep it until the device has computed with the tensors: the stream of the copies does not know when that is, and
    would otherwise overwrite them with the next ones.
    """

    tensors: list[paddle.Tensor]
    pinned: list[paddle.Tensor]


def send(arrays: Sequence[np.ndarray], device: str) -> Sent:
    """Return the arrays on the device; on a GPU they are still in transit, and the next computation waits for them."""
    if device == "cpu":
        return Sent([paddle.to_tensor(array) for array in arrays], [])
    pinned = [paddle.to_tensor(array, place=paddle.CUDAPinnedPlace()) for array in arrays]
    with _copying():
        return Sent([tensor.cuda(blocking=False) for tensor in pinned], pinned)


def fetch(tensors: Sequence[paddle.Tensor], device: str, sent: Sent) -> Callable[[], list[np.ndarray]]:
    """Return a function that waits for the tensors and returns them as arrays.

    On a GPU the copy back starts now: started later, it would queue behind the next computation. sent: the inputs of
    the tensors, kept until the tensors are computed.
    """
    if device == "cpu":
        return lambda: [tensor.numpy() for tensor in tensors]
    pinned = [tensor.pin_memory(blocking=False) for tensor in tensors]
    held = [(sent, paddle.device.current_stream().record_event())]

    def arrays() -> list[np.ndarray]:
        while held:
            wait_for(held[-1][1])
            held.pop()
        return [tensor.numpy() for tensor in pinned]

    return arrays


def wait_for(event: paddle.device.Event) -> None:
    """Wait until the GPU has reached the event; other threads run meanwhile."""
    while not event.query():
        time.sleep(POLL)


def wait_for_gpu() -> None:
    """Wait until the GPU, if there is one, has finished all work so far: results can then be read at once."""
    if paddle.get_device().startswith("gpu"):
        wait_for(paddle.device.current_stream().record_event())


@contextmanager
def _copying() -> Iterator[None]:
    """Open a context whose copies run beside the GPU's computations; computations after the context wait for them."""
    stream = _copy_stream()
    if stream is None:
        yield
        return
    with paddle.device.stream_guard(stream):
        yield
        arrived = stream.record_event()
    paddle.device.current_stream().wait_event(arrived)


@cache
def _copy_stream() -> paddle.device.Stream | None:
    """Return the stream for this process's copies; None means the stream of its computations.

    It is None on Windows. There Paddle takes the memory for another stream's tensors from the computations' memory, so
    a copy could overwrite data that is still in use.
    """
    return None if sys.platform == "win32" else paddle.device.Stream()

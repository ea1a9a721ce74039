"""How arrays reach a GPU and come back while it computes, and how it is waited for without stopping other threads.

Paddle waits for a GPU with the interpreter's lock held, or behind all that was asked of it since; meanwhile the threads
that ask the readers stand still. Written to Paddle's documentation and sources.
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

    To be held until the device has computed with them: the copies' stream, which does not know of that, puts the next
    ones where they were.
    """

    tensors: list[paddle.Tensor]
    pinned: list[paddle.Tensor]


def send(arrays: Sequence[np.ndarray], device: str) -> Sent:
    """Return the arrays on the device; on a GPU they are still under way, and what is computed next waits for them."""
    if device == "cpu":
        return Sent([paddle.to_tensor(array) for array in arrays], [])
    pinned = [paddle.to_tensor(array, place=paddle.CUDAPinnedPlace()) for array in arrays]
    with _copying():
        return Sent([tensor.cuda(blocking=False) for tensor in pinned], pinned)


def fetch(tensors: Sequence[paddle.Tensor], device: str, sent: Sent) -> Callable[[], list[np.ndarray]]:
    """Return what waits for the tensors and gives them as arrays.

    On a GPU their way back begins here: asked for later, it would stand behind what is computed next. sent: what they
    are computed from, held until they are there.
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
    """Return when the GPU has come to the event; other threads run meanwhile."""
    while not event.query():
        time.sleep(POLL)


def wait_for_gpu() -> None:
    """Return when the GPU has done what was asked of it until now, if there is one: what is read then is there."""
    if paddle.get_device().startswith("gpu"):
        wait_for(paddle.device.current_stream().record_event())


@contextmanager
def _copying() -> Iterator[None]:
    """Have copies travel beside what the GPU computes; what it is asked for afterwards waits for them."""
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
    """Return the one stream of this process's copies; None: that of its computations.

    So on Windows, where Paddle takes the memory of another stream's tensors from that of the computations: a copy could
    overwrite what is still read.
    """
    return None if sys.platform == "win32" else paddle.device.Stream()

"""From batches to answers, while the next batches are read and computed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np

from inference.views import Output
from reader.loader import Batch

_NOTHING = Output(np.empty((0, 1), np.float32), np.empty((0, 1, 1), np.float32))


class Answering(Protocol):
    """The interface of inference.network.Network and of other networks that answer."""

    ahead: int

    def start(self, frames: np.ndarray) -> Callable[[], Output]: ...


def answers(network: Answering, batches: Iterable[Batch]) -> Iterator[tuple[Batch, Output]]:
    """Yield each batch with its output, in order; the output has no rows if none of the videos can be read.

    The network gets `ahead` more batches before the first one is waited for.
    """
    pending: deque[tuple[Batch, Callable[[], Output]]] = deque()
    for batch in batches:
        pending.append((batch, network.start(batch.frames) if batch.indices else lambda: _NOTHING))
        if len(pending) > network.ahead:
            yield _finished(pending)
    while pending:
        yield _finished(pending)


def _finished(pending: deque[tuple[Batch, Callable[[], Output]]]) -> tuple[Batch, Output]:
    batch, wait = pending.popleft()
    return batch, wait()

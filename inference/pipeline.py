"""Batches in, logits out, while the next batches are read and computed."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from reader.loader import Batch


def answers(
    network: Callable[[np.ndarray], np.ndarray], batches: Iterable[Batch]
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Each batch with its logits float32 [N, K], in order; [0, 1] where none of its videos can be read.

    A network that has `start` and `ahead` (inference.network.Network) is given so many batches before the first of
    them is waited for; of any other callable a batch is asked at a time.
    """
    start = getattr(network, "start", None)
    ahead = network.ahead if start else 0
    pending: deque[tuple[Batch, Callable[[], np.ndarray]]] = deque()
    for batch in batches:
        if not batch.indices:
            pending.append((batch, lambda: np.empty((0, 1), np.float32)))
        elif start:
            pending.append((batch, start(batch.frames)))
        else:
            pending.append((batch, lambda batch=batch: network(batch.frames)))
        if len(pending) > ahead:
            yield _finished(pending)
    while pending:
        yield _finished(pending)


def _finished(pending: deque[tuple[Batch, Callable[[], np.ndarray]]]) -> tuple[Batch, np.ndarray]:
    batch, wait = pending.popleft()
    return batch, wait()

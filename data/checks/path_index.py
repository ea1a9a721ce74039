"""Which of many videos has a path, in 8 bytes for each: of a million two have the same 8 once in 40 million lists."""

import os
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np


def digests_of(paths: Iterable[str]) -> np.ndarray:
    """Return uint64 [N], of each path."""
    return np.fromiter((_digest(path) for path in paths), np.uint64)


def find(digests: np.ndarray, path: str) -> int | None:
    """Return where in `digests`, uint64 [D], ascending, that of the path stands; None: nowhere."""
    digest = np.uint64(_digest(path))
    place = int(np.searchsorted(digests, digest))
    return place if place < len(digests) and digests[place] == digest else None


def _digest(path: str) -> int:
    return int.from_bytes(blake2b(os.fsencode(path), digest_size=8).digest())

"""Cut a list into shards: consecutive positions that are computed, and retried, as a whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """The positions first to last - 1 of the list. `name` names its part, and is the same in each run of a command."""

    index: int
    first: int
    last: int
    name: str

    def __len__(self) -> int:
        return self.last - self.first

    def __str__(self) -> str:
        return f"shard {self.index} (positions {self.first} to {self.last - 1})"


def cut(fingerprint: Mapping[str, object], size: int) -> list[Shard]:
    """Return the shards of `size` videos, the last perhaps smaller, for the run with this fingerprint."""
    # As in the journal: except for the weights' path, the protocol follows from the other keys.
    facts = {name: value for name, value in fingerprint.items() if name != "protocol"}
    shards = []
    for index, first in enumerate(range(0, fingerprint["videos"], size)):
        last = min(first + size, fingerprint["videos"])
        digest = hashlib.sha256(json.dumps([facts, first, last]).encode()).hexdigest()
        shards.append(Shard(index, first, last, f"part-{index:06d}-{digest[:16]}"))
    return shards

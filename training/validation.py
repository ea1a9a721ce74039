"""Validate after an epoch: compute the accuracy on a list, with a part on each rank."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np

from inference.label_kinds import ONE, LabelKind
from inference.network import Network
from inference.rows import compute_rows
from metrics.accuracy import Accuracy
from metrics.many import ManyScores
from reader.filelist import Entry
from reader.loader import Batch, Loader, timed
from training.features import FeatureLoader
from utils.config.foreign import list_advice
from utils.config.keys import ValidConfig
from utils.errors import InputError
from utils.log import progress_bar, say
from utils.processes.ranks import World


@dataclass
class Validation:
    """The results of validation so far."""

    accuracy: Accuracy | ManyScores
    unreadable: list[tuple[int, str]] = field(default_factory=list)  # (position in the list, reason)
    waited: float = 0.0  # seconds without a batch to work on

    def over(self, world: World) -> "Validation":
        """Return the sum over all ranks; it has every video of the list once."""
        parts = world.all_gather(self)
        return Validation(
            reduce(add, (part.accuracy for part in parts)),
            sorted(sum((part.unreadable for part in parts), [])),
            max(part.waited for part in parts),
        )


def validate(
    network: Network,
    loader: Loader | FeatureLoader,
    entries: Sequence[Entry],
    num_classes: int,
    world: World,
    after_batch: Callable[[], None],
    kind: LabelKind = ONE,
) -> Validation:
    """Return the sums over the parts of all ranks.

    after_batch: called equally often on every rank, because ranks must leave together. Its errors are passed on. Raises
    RunError if an output is not finite.
    """
    order = range(world.rank, len(entries), world.size)
    most_videos = len(range(0, len(entries), world.size))  # the part of rank 0
    rounds = range(0, most_videos, loader.batch_size)
    seen, timer, asked = Validation(kind.sums(num_classes)), _Timer(loader), 0
    rows_of = compute_rows(network, timer, entries, kind.evaluations_of(range(num_classes)), order)
    with progress_bar(len(order), "validation") as bar:
        for rows in rows_of:
            for row in rows:
                if "error" in row:
                    seen.unreadable.append((row["position"], row["error"]))
                else:
                    seen.accuracy.add(row)
            after_batch()
            asked += 1
            bar.update(len(rows))
    for _ in rounds[asked:]:
        after_batch()
    seen.waited = timer.waited
    return seen.over(world)


def check_readable(
    loader: Loader | FeatureLoader, entries: Sequence[Entry], section: ValidConfig, world: World
) -> None:
    """Raise InputError on all ranks if no video can be read. Say where videos have too few frames.

    Videos are read until one is readable. With kept features, this is already known.
    """
    readable, line, first, size = 1, "", "", loader.batch_size
    if world.is_main and isinstance(loader, Loader):
        for start in range(0, len(entries), size):
            [batch] = loader.batches(range(start, min(start + size, len(entries))))
            if readable := len(batch.indices):
                line = _about_frames(batch.frames[0], entries[batch.indices[0]].path, section)
                break
            index, reason = batch.unreadable[0]
            first = first or f"; {entries[index].path}: {reason}{list_advice(entries[index].path, reason)}"
    check_any(world.broadcast(readable), section, len(entries), first)
    if line:
        say(line)


def _about_frames(clip: np.ndarray, path: str, section: ValidConfig) -> str:
    number = len({frame.tobytes() for frame in clip})
    if section.crops > 1 or number == section.seg_num:
        return ""
    return (
        f"{path}: its {section.seg_num} segments show {number} different frames: there are more segments than frames, "
        "or the picture stands still"
    )


def check_any(readable: int, section: ValidConfig, number: int, which: str = "") -> None:
    """Raise InputError if no video of the list can be read. which: one of them, and the reason."""
    if readable == 0:
        raise InputError(f"{section.filelist}: none of its {number} videos can be read{which}")


class _Timer:
    """A loader that counts the seconds of waiting for its batches."""

    def __init__(self, loader: Loader | FeatureLoader):
        self._loader, self.waited = loader, 0.0

    def batches(self, order: Sequence[int]) -> Iterator[Batch]:
        for batch, waited in timed(self._loader.batches(order)):
            self.waited += waited
            yield batch

"""The training videos that cannot be read: each is named once, and a run ends where there are too many."""

from collections.abc import Sequence

from reader.filelist import FileList
from reader.loader import Batch
from utils.errors import InputError
from utils.log import say
from utils.processes.ranks import World


class Unreadable:
    """The unreadable videos that this rank has met, and how many there are on all ranks."""

    def __init__(self, entries: FileList, share: float, world: World):
        """share: TRAIN.max_unreadable."""
        self._entries, self._share, self._world = entries, share, world
        self._reasons: dict[str, str] = {}  # by path, of this rank
        self._met = 0  # the sum of their numbers over all ranks

    @property
    def number(self) -> int:
        """How many this rank has met."""
        return len(self._reasons)

    def note(self, batch: Batch) -> None:
        """Name the batch's unreadable videos that were not met before."""
        for index, reason in batch.unreadable:
            path = self._entries[index].path
            if path not in self._reasons:
                self._reasons[path] = reason
                say(f"unreadable, replaced by the next video of the list: {path}: {reason}", every_rank=True)

    def limit(self, met: int) -> None:
        """Raise InputError where all ranks together have met too many; met: the sum of their numbers."""
        if met > self._met:
            self._met = met
            self._check(self._world.all_gather(self._reasons))

    def limit_own(self, batch: Batch) -> None:
        """Do both for a batch before training begins, where ranks do not wait for each other."""
        self.note(batch)
        self._check([self._reasons])

    def _check(self, parts: Sequence[dict[str, str]]) -> None:
        everywhere: dict[str, str] = {}
        for known in parts:
            everywhere |= known
        if len(everywhere) > max(1, int(self._share * len(self._entries))):
            raise InputError(
                f"{len(everywhere)} of {len(self._entries)} training videos are unreadable, more than "
                f"TRAIN.max_unreadable allows ({self._share:g} of the list, at least one): {', '.join(everywhere)}"
            )

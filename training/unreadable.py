"""Track training videos that cannot be read: name each once, and end the run if there are too many."""

from collections.abc import Sequence

from reader.filelist import FileList
from reader.loader import Batch
from utils.errors import InputError
from utils.log import say
from utils.processes.ranks import World


class UnreadableTracker:
    """The unreadable videos that this rank has met, and their number on all ranks."""

    def __init__(self, entries: FileList, share: float, world: World):
        """share: TRAIN.max_unreadable."""
        self._entries, self._share, self._world = entries, share, world
        self._reasons: dict[str, str] = {}  # this rank's, by path
        self._met = 0  # the sum over all ranks

    @property
    def number(self) -> int:
        """Return how many this rank has met."""
        return len(self._reasons)

    def note(self, batch: Batch) -> None:
        """Report the batch's unreadable videos that are new."""
        for index, reason in batch.unreadable:
            path = self._entries[index].path
            if path not in self._reasons:
                self._reasons[path] = reason
                say(f"unreadable, replaced by the next video of the list: {path}: {reason}", every_rank=True)

    def limit(self, met: int) -> None:
        """Raise InputError if all ranks together have met too many. met: the sum of their numbers."""
        if met > self._met:
            self._met = met
            self._check(self._world.all_gather(self._reasons))

    def limit_own(self, batch: Batch) -> None:
        """Do both for a batch before training begins, when ranks do not wait for each other."""
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

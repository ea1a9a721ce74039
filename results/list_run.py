"""Run one pass over a list: reuse the known rows, compute the others, and deliver the results."""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from inference.rows import RowKind
from results.feature_file import FEATURES, FeatureFile, remove_partial_features
from results.finished import NAME as MADE
from results.journal import Journal, Rows, remove_files
from results.leftovers import replace_earlier
from results.parquet import UNFINISHED
from results.row_checks import Fits
from utils.config.flags import Flags
from utils.errors import InputError, RunError
from utils.log import progress_bar, say
from utils.processes.ranks import World
from utils.storage.files import publish, unfinished, written_to
from utils.storage.objects import is_remote

# The results, which may also be half written, and the files of single videos with their heat maps.
_NAMES = "predictions|metrics|confusion|evaluation|features|probabilities|timeline|report|config"
_MADE = rf"({_NAMES})(\.partial(\.rank\d+)?)?\.\w+"
_OF_VIDEOS, _HEAT_MAPS = r"(?s:.+)\.(vtt|labelled\.mp4)", r"(?s:.+)_seg\d+\.png"


def remove_unfinished(folder: Path) -> None:
    """Remove half-written files of killed predict.py and eval.py runs. No other run may be writing there."""
    remove_files(unfinished(folder, f"{_MADE}|{_OF_VIDEOS}"))
    remove_files(unfinished(folder / "explain", _HEAT_MAPS))
    for name in UNFINISHED:
        shutil.rmtree(folder / name, ignore_errors=True)


@contextmanager
def forgetting(runs: "Sequence[ListRun]") -> Iterator[None]:
    """Forget the rows of the runs if an InputError passes: there is nothing to resume."""
    try:
        yield
    except InputError:
        for run in runs:
            run.forget()
        raise


class ListRun:
    """A rank's part of a pass, which the same command can resume. A context manager that all ranks must enter."""

    def __init__(
        self,
        kind: RowKind,
        flags: Flags,
        fingerprint: Mapping[str, object],
        batch_size: int,
        world: World = World(),
        features: FeatureFile | None = None,
        fits: Fits = lambda row: True,
    ):
        """Take the run's description. Files are only read or written on entering the context.

        Args:
            fingerprint: identifies the run, see results/fingerprint.py; `videos` is the length of the list.
            batch_size: of the rank.
            features: the values kept beside the rows.
            fits: whether a known row can be trusted.
        """
        self.folder, self._save_dir = written_to(flags.save_dir), flags.save_dir
        self._kind, self._fingerprint, self._world, self.features = kind, fingerprint, world, features
        self._order, self.batch_size = range(world.rank, fingerprint["videos"], world.size), batch_size
        self._fits, self._restart = fits, "--restart=True" if flags.restart else ""

    def __enter__(self) -> Self:
        """Load the known rows. Rank 0 reports the state.

        Raises InputError and RunError as `Journal` does, and RunError if the ranks do not share the folder.
        """
        kind, undelivered = self._kind, is_remote(self._save_dir)
        with ExitStack() as stack:
            what = self._fingerprint, kind.columns, self._world, undelivered, self._fits
            self.journal = stack.enter_context(Journal(self.folder, kind.files, *what))
            self._take_up()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def complete(self, compute: Callable[[Sequence[int]], Iterator[list[dict]]]) -> Iterator[tuple[int, list[dict]]]:
        """Yield (batch number, its rows) for each batch missing from the journal, after adding it there.

        compute: yields the rows of each batch of some positions, see inference/rows.py. At the end all ranks are done.
        """
        journal = self.journal
        with progress_bar(len(self._order), self._kind.work, journal.known.count) as bar:
            try:
                for number, rows in enumerate(compute(journal.known.todo()), journal.known.count // self.batch_size):
                    journal.append(rows)
                    yield number, rows
                    bar.update(len(rows))
            except KeyboardInterrupt:
                say(f"the same command continues from {journal.known.count} of {len(self._order)}")
                raise
        journal.settle()
        self._world.all_gather(None)

    def deliver(self, write: Callable[[Rows], None]) -> str:
        """Write the results, give the journal its final name, and return where they are. For rank 0, at the end.

        write: gets the rows of all ranks by position. Its errors are passed on. After a RunError, the same command
        tries again; after an InputError, nothing is kept to resume from.
        """
        with forgetting([self]):
            write(self.journal.rows())
        self.journal.finish()
        remove_files([self.folder / MADE])
        replace_earlier(self.folder)
        where = publish(self.folder, self._save_dir)
        self.forget()
        return where

    def forget(self) -> None:
        """Remove the files that a run resumes from. For rank 0, at the end."""
        if self.features is not None:
            self.features.discard()
        self.journal.discard()

    def _take_up(self) -> None:
        journal, features, world = self.journal, self.features, self._world
        why = journal.resume(self._order, self.batch_size, self._restart)
        if features is not None and not features.open(journal.known.count):
            lost = f"{features.path.name} is missing or another run's"
            why = journal.resume(self._order, self.batch_size, lost)
            features.open(0)
        again = journal.again.unreadable, journal.again.changed
        whys, counts, made, done_again = zip(*world.all_gather((why, journal.known.count, journal.made_folder, again)))
        journal.made_folder = any(made)
        if not world.is_main:
            return
        for part in journal.parts:
            if not part.exists():
                raise RunError(f"{part}: no such file: --save_dir must be a folder that all processes share")
        others = set(self.folder.glob(f"{self._kind.files}.partial.rank*.jsonl")) - set(journal.parts)
        remove_files(others)  # from a run with more ranks
        remove_unfinished(self.folder)
        name, ours = (features.name, features.parts) if features else (FEATURES, ())
        remove_partial_features(self.folder, name, keep=ours)
        if "" in whys:
            self._say_known(sum(counts), *map(sum, zip(*done_again)))
        elif why != "new":
            say(f"{journal.path}: {why}: starting anew")

    def _say_known(self, count: int, unreadable: int, changed: int) -> None:
        known = f"{self.journal.path}: {count} of {self._fingerprint['videos']} videos are done already"
        if unreadable + changed:
            which = f"{unreadable} that could not be read, {changed} whose files have changed"
            say(f"{known}: continuing with the rest; computed again with their batches: {which}")
        else:
            say(f"{known}: continuing after them")

"""Class names and their ids: those of Kinetics-400, one's own in alphabetical order, or those of lists that grow."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reader.class_names import is_hidden, read_names
from utils.errors import InputError

KINETICS_LABELS = Path(__file__).parents[1] / "dataset" / "kinetics_labels.json"


@lru_cache(10_000)  # the name of a class comes with each of its videos
def loose(name: str) -> str:
    """Return what stays of a name in every spelling in use: letters and digits, in lower case.

    Blanks or underscores, parentheses and apostrophes come and go between copies of Kinetics-400; its 400 names stay
    distinct without them.
    """
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())


@lru_cache(10_000)
def label_of(name: str) -> str:
    """Return a name the way label lists spell it: words joined by `_`."""
    return "_".join(unicodedata.normalize("NFC", name).replace("_", " ").split()) or name


@dataclass(frozen=True)
class Classes:
    """The names by class id, the file they come from ("" for one's own), and how a spelling finds its id."""

    names: list[str]
    source: str
    ids: dict[str, int]

    def find(self, name: str) -> int | None:
        """Return the class id of a name in any spelling; None when there is no such class."""
        return self.ids.get(loose(name) if self.source else label_of(name))


def choose_classes(found: Iterable[str], labels: str | None, before: Sequence[str] = ()) -> Classes:
    """Return the classes that `found`, names from annotations or folders, are numbered by.

    labels: a label list that must hold them all; "own": their own alphabetical order; None: Kinetics-400 where it has
    them all, so that class ids are those of the published weights, else their own order. before: names that keep
    their numbers; the others come behind them.

    Raises InputError: the label list cannot be used, lacks a name, or numbers those before otherwise; or a name is no
    line of text.
    """
    found = sorted(set(found))
    for name in found:
        if is_hidden(label_of(name)):
            raise InputError(f"the class {name!r} has a character in its name that no label list may hold: rename it")
    if before and labels in (None, "own"):
        return _extended(found, before)
    if labels != "own":
        known = read_classes(labels or str(KINETICS_LABELS))
        unknown = [name for name in found if known.find(name) is None]
        if known.names[: len(before)] != list(before):
            raise InputError(f"--labels {labels}: numbers the classes otherwise than the lists that --extend keeps")
        if not unknown:
            return known
        if labels:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise InputError(f"--labels {labels}: has no class {unknown[0]!r}{more}")
    names = in_order({label_of(name) for name in found})
    return Classes(names, "", {name: i for i, name in enumerate(names)})


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names in alphabetical order, whatever their case."""
    return sorted(names, key=lambda name: (name.casefold(), name))


def _extended(found: Iterable[str], before: Sequence[str]) -> Classes:
    """Return the classes before, of which any may have no clip any more, and behind them those that are new."""
    known = read_classes(str(KINETICS_LABELS))
    if list(before) != known.names:  # else in any spelling
        known = Classes(list(before), "", {name: i for i, name in enumerate(before)})
    new = in_order({label_of(name) for name in found if known.find(name) is None})
    if not new:
        return known
    names = [*before, *new]
    numbers = {name: i for i, name in enumerate(names)}
    for name in found:
        if (number := known.find(name)) is not None:
            numbers[label_of(name)] = number
    return Classes(names, "", numbers)


def read_classes(path: str) -> Classes:
    """Return the classes of a label list.

    Raises InputError when it is none, or two names differ in punctuation only.
    """
    return classes_of(read_names(path, "--labels"), path, f"--labels {path}")


def classes_of(names: Sequence[str], source: str, where: str) -> Classes:
    """Return the classes of these names, which `source` has in this order.

    Raises InputError, which begins with `where`.
    """
    if not names or not all(map(loose, names)) or any(map(is_hidden, names)):
        raise InputError(f"{where}: expected a JSON list of names")
    ids: dict[str, int] = {}
    for i, name in enumerate(names):
        first = ids.setdefault(loose(name), i)
        if first != i:
            raise InputError(f"{where}: {names[first]!r} and {name!r} cannot be told apart")
    return Classes(list(names), source, ids)

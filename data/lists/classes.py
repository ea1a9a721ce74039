"""Number classes: as Kinetics-400 does, in alphabetical order, or after the classes of existing lists."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from reader.class_names import is_hidden, read_names
from utils.errors import InputError

KINETICS_LABELS = Path(__file__).parents[1] / "dataset" / "kinetics_labels.json"


@lru_cache(10_000)  # the same few names come with every video
def loose(name: str) -> str:
    """Return a name's letters and digits in lower case.

    Copies of Kinetics-400 differ in blanks, underscores, parentheses and apostrophes. Its 400 names stay distinct
    without them.
    """
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())


@lru_cache(10_000)
def label_of(name: str) -> str:
    """Return a name with its words joined by `_`, as in label lists."""
    return "_".join(unicodedata.normalize("NFC", name).replace("_", " ").split()) or name


@dataclass(frozen=True)
class Classes:
    """The names by class id, the file they come from ("" for own classes), and the id of each spelling."""

    names: list[str]
    source: str
    ids: dict[str, int]

    def find(self, name: str) -> int | None:
        """Return the class id of a name in any spelling, or None if there is no such class."""
        return self.ids.get(loose(name) if self.source else label_of(name))


def choose_classes(found: Iterable[str], labels: str | None, before: Sequence[str] = ()) -> Classes:
    """Return the classes that number the names in `found`, which come from annotations or folders.

    labels: a label list that must contain all names; "own": alphabetical order; None: Kinetics-400's numbers, which
    the published weights use, if it contains all names, and alphabetical order otherwise. before: names that keep
    their numbers; new names are numbered after them.

    Raises InputError if the label list cannot be used, lacks a name, or numbers a name in `before` differently, or if
    a name is not a line of text.
    """
    found = sorted(set(found))
    for name in found:
        if is_hidden(label_of(name)):
            raise InputError(f"the class {name!r}: a label list cannot hold a character of this name: rename the class")
    if before and labels in (None, "own"):
        return _extended(found, before)
    if labels != "own":
        known = read_classes(labels or str(KINETICS_LABELS))
        unknown = [name for name in found if known.find(name) is None]
        if known.names[: len(before)] != list(before):
            raise InputError(f"--labels {labels}: numbers the classes differently from the lists that --extend keeps")
        if not unknown:
            return known
        if labels:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise InputError(f"--labels {labels}: has no class {unknown[0]!r}{more}")
    names = in_order({label_of(name) for name in found})
    return Classes(names, "", {name: i for i, name in enumerate(names)})


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names in alphabetical order, ignoring case."""
    return sorted(names, key=lambda name: (name.casefold(), name))


def _extended(found: Iterable[str], before: Sequence[str]) -> Classes:
    """Return the classes in `before`, including those that have lost their clips, followed by the new ones."""
    known = read_classes(str(KINETICS_LABELS))
    if list(before) != known.names:  # Kinetics-400's names match in any spelling, own names exactly
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

    Raises InputError if the file is not a label list, or if two names differ only in punctuation.
    """
    return classes_of(read_names(path, "--labels"), path, f"--labels {path}")


def classes_of(names: Sequence[str], source: str, where: str) -> Classes:
    """Return the classes with these names, in the order of `source`.

    where: begins the message of an InputError.
    """
    if not names or not all(map(loose, names)) or any(map(is_hidden, names)):
        raise InputError(f"{where}: expected a JSON list of names")
    ids: dict[str, int] = {}
    for i, name in enumerate(names):
        first = ids.setdefault(loose(name), i)
        if first != i:
            raise InputError(f"{where}: {names[first]!r} and {name!r} have the same letters and digits: rename one")
    return Classes(list(names), source, ids)

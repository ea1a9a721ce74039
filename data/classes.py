"""Class names and their ids: those of Kinetics-400, or one's own in alphabetical order."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from utils.errors import InputError

KINETICS_LABELS = Path(__file__).parent / "dataset" / "kinetics_labels.json"


@lru_cache(10_000)  # the name of a class comes with each of its videos
def loose(name: str) -> str:
    """What stays of a name in every spelling in use: letters and digits, in lower case.

    Blanks or underscores, parentheses and apostrophes come and go between copies of Kinetics-400; its 400 names stay
    distinct without them.
    """
    return "".join(c for c in unicodedata.normalize("NFKC", name).casefold() if c.isalnum())


@lru_cache(10_000)
def label_of(name: str) -> str:
    """A name the way label lists spell it: words joined by `_`."""
    return "_".join(unicodedata.normalize("NFC", name).replace("_", " ").split())


@dataclass(frozen=True)
class Classes:
    """The names by class id, the file they come from ("" for one's own), and how a spelling finds its id."""

    names: list[str]
    source: str
    ids: dict[str, int]

    def find(self, name: str) -> int | None:
        """The class id of a name in any spelling; None when there is no such class."""
        return self.ids.get(loose(name) if self.source else label_of(name))


def choose_classes(found: Iterable[str], labels: str | None) -> Classes:
    """The classes that `found`, names from annotations or folders, are numbered by.

    labels: a label list that must hold them all; "own": their own alphabetical order; None: Kinetics-400 where it has
    them all, so that class ids are those of the published weights, else their own order.

    Raises:
        InputError: the label list cannot be used, or lacks a name.
    """
    found = sorted(set(found))
    if labels != "own":
        known = read_classes(labels or str(KINETICS_LABELS))
        unknown = [name for name in found if known.find(name) is None]
        if not unknown:
            return known
        if labels:
            more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
            raise InputError(f"--labels {labels}: has no class {unknown[0]!r}{more}")
    names = sorted({label_of(name) for name in found}, key=lambda name: (name.casefold(), name))
    return Classes(names, "", {name: i for i, name in enumerate(names)})


def read_classes(path: str) -> Classes:
    """The classes of a label list. Raises InputError when it is none, or two names differ in punctuation only."""
    try:
        names = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"--labels {path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"--labels {path}: is no JSON") from None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and loose(name) for name in names):
        raise InputError(f"--labels {path}: expected a JSON list of names")
    return Classes(names, path, _distinct(path, names))


def _distinct(path: str, names: Sequence[str]) -> dict[str, int]:
    ids: dict[str, int] = {}
    for i, name in enumerate(names):
        first = ids.setdefault(loose(name), i)
        if first != i:
            raise InputError(f"--labels {path}: {names[first]!r} and {name!r} cannot be told apart")
    return ids

"""Read the official split files of UCF101, HMDB51 and Something-Something v2: clips, and the numbers of classes.

UCF101: trainlist01.txt, testlist01.txt, classInd.txt. HMDB51: CLASS_test_split1.txt, one for each class.
Something-Something v2: something-something-v2-{train,validation,test,labels}.json.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from data.lists.annotations import Annotation
from data.lists.classes import Classes, classes_of
from data.lists.splits import split_of_file
from utils.errors import InputError, os_errors

_UCF = re.compile(r"(train|test)list(\d+)\.txt")
_HMDB = re.compile(r"(.+)_test_split(\d+)\.txt")
_HMDB_SPLITS = {"0": "", "1": "train", "2": "test"}
_FILES = "UCF101's trainlist01.txt, testlist01.txt and classInd.txt, HMDB51's CLASS_test_split1.txt, or " + (
    "something-something-v2-train.json, -validation.json, -test.json and -labels.json"
)


def is_official(paths: Sequence[str]) -> bool:
    """Return whether these are official split files and not Kinetics CSV files. Raises InputError for a mixture."""
    others = [path for path in paths if Path(path).suffix.lower() in (".txt", ".json")]
    if others and len(others) < len(paths):
        two = f"{others[0]} and {next(path for path in paths if path not in others)}"
        raise InputError(f"--annotations: {two} are of different data sets: give the files of one")
    return bool(others)


def read_official(paths: Sequence[str]) -> tuple[list[Annotation], Classes | None]:
    """Return (the clips that have a split, the classes by number or None if no file gives numbers).

    Raises InputError, with file:line for text files, if a file has another format.
    """
    rows: list[Annotation] = []
    numbers: dict[str, tuple[int, str]] = {}  # class name -> its number, and where the number was read
    source, parts = "", {}
    for path in paths:
        name = Path(path).name
        split = split_of_file(path)
        known = _UCF.fullmatch(name) or _HMDB.fullmatch(name)
        if known:
            parts.setdefault(known[2], path)
        if name == "classInd.txt":
            source = path
            lines = _words(path, r"(\d{1,6}) (\S+)", "1 Archery")
            numbers |= {label: (int(number) - 1, where) for number, label, where in lines}
        elif known and known.re is _UCF:
            for clip, number, where in _words(path, r"(\S.*?/\S.*?)(?: (\d{1,6}))?", "Archery/v_Archery_g01_c01.avi 1"):
                label = PurePosixPath(clip).parent.name
                rows.append(Annotation(label, PurePosixPath(clip).stem, None, None, known[1], where))
                if number:
                    numbers.setdefault(label, (int(number) - 1, where))
                    source = source or path
        elif known:
            lines = _words(path, r"(\S.*) ([012])", "clip.avi 1")
            lines = ((Path(clip).stem, _HMDB_SPLITS[number], where) for clip, number, where in lines)
            rows += [Annotation(known[1], clip, None, None, split, where) for clip, split, where in lines if split]
        elif name.endswith(".json") and split:
            rows += _of_something(path, split)
        elif name.endswith("labels.json"):
            source, content = path, _json(path, dict)
            numbers |= {
                str(label): (int(n) if re.fullmatch("[0-9]{1,6}", str(n)) else -1, path) for label, n in content.items()
            }
        else:
            raise InputError(f"--annotations {path}: expected {_FILES}")
    if len(parts) > 1:
        two = " and ".join(list(parts.values())[:2])
        raise InputError(f"--annotations: {two} are of different official splits: give the files of one")
    classes = _numbered(numbers, source) if numbers else None
    for row in rows if classes else ():
        if row.label and classes.find(row.label) is None:
            raise InputError(f"{row.where}: {source} has no class {row.label!r}")
    return rows, classes


def _numbered(numbers: dict[str, tuple[int, str]], source: str) -> Classes:
    """Return the classes ordered by number. Raises InputError unless the numbers are 0 to K - 1."""
    names = sorted(numbers, key=lambda name: numbers[name][0])
    for expected, name in enumerate(names):
        if numbers[name][0] != expected:
            raise InputError(f"{numbers[name][1]}: the number of {name!r}: expected consecutive numbers, each once")
    return classes_of(names, source, source)


def _words(path: str, pattern: str, example: str) -> Iterator[tuple[str, ...]]:
    """Yield (the groups of the pattern, file:line) for each line that is not empty. example: of a line."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            found = re.fullmatch(pattern, line.strip())
            if not found:
                raise InputError(f"{path}:{number}: expected a line such as {example!r}, not {line.strip()[:80]!r}")
            yield *found.groups(), f"{path}:{number}"


def _json(path: str, kind: type) -> list | dict:
    try:
        with os_errors(InputError, f"{path}: cannot be read"):
            content = json.loads(Path(path).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, kind):
        what = "an object" if kind is dict else "a list"
        raise InputError(f"{path}: expected {what}, as in Something-Something v2")
    return content


def _of_something(path: str, split: str) -> Iterator[Annotation]:
    for number, clip in enumerate(_json(path, list)):
        where = f"{path}, clip {number}"
        label = clip.get("template", "") if isinstance(clip, dict) else None
        if not isinstance(label, str) or not re.fullmatch(r"[\w.-]{1,200}", str(clip.get("id", ""))):
            raise InputError(f"{where}: expected an object with id and template")
        # Templates have brackets ("Holding [something]"), which the label list has not.
        yield Annotation(label.replace("[", "").replace("]", ""), str(clip["id"]), None, None, split, where)

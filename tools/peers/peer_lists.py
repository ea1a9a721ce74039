"""Convert a peer's lists of videos and label files."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reader.class_names import MAX_LABELS_BYTES, is_hidden
from reader.filelist import FileList, read_list
from reader.labels import text_of
from tools.peers.peer_annotations import read_clips
from tools.peers.peer_keys import Ours, Theirs
from utils.config.foreign import PAGE
from utils.errors import InputError, os_errors, quoted
from utils.storage.files import write_stream, write_text

LISTS = {"TRAIN": "train.list", "VALID": "val.list", "TEST": "test.list"}
LABELS = "kinetics_labels.json"


@dataclass(frozen=True)
class Source:
    """A list that a peer's configuration names. A line with PATH means the file `prefix`/PATH + `suffix`.

    frames: whether the lines are `folder number label`, for folders of JPEG files. delimiter: separates the columns.
    """

    file: Theirs
    prefix: str = ""
    suffix: str = ""
    frames: bool = False
    delimiter: str = " "


def write_lists(ours: Ours, sources: dict[str, Source], config: Path, out: Path) -> Iterator[str]:
    """Write each section's list into the folder, name it in the configuration, and yield a line about it.

    The peer's paths begin at its working folder: this one, or one above the configuration. Raises InputError if a file
    is not a list.
    """
    classes, labels = (ours.values["MODEL"].get(*key) for key in (("num_classes", 400), ("labels", "single")))
    for section, source in sources.items():
        name, target = source.file.value, out / LISTS[section]
        if not isinstance(name, str) or not name:
            ours.put(f"{section}.filelist", source.file)
            continue
        roots = [Path(), *config.absolute().parents]
        root = next((root for root in roots if (root / name).is_file()), None)
        if root is None:
            ours.say(source.file, f"no such file: {section}.filelist keeps the path")
            ours.put(f"{section}.filelist", source.file)
            if source.prefix:
                ours.put(f"{section}.data_prefix", source.file, source.prefix)
            if source.suffix:
                ours.say(source.file, f"its paths must end with {source.suffix}")
            continue
        below = os.path.join("" if root == Path() else root, source.prefix)
        entries = _entries(root / name, source, num_classes=classes, prefix=below, labels=labels)
        write_stream(target, lambda file, entries=entries, end=source.suffix: file.writelines(_lines(entries, end)))
        missing = sum(not os.path.exists(one.path + source.suffix) for one in entries)
        ours.values[section]["filelist"] = str(target)
        yield f"{target}: {len(entries)} videos of {root / name}" + (f", {missing} of them missing" if missing else "")


def _entries(path: Path, source: Source, **how: object) -> FileList:
    """Return the videos of a list. Raises InputError for other files."""
    if path.suffix in (".pkl", ".pickle"):
        raise InputError(f"{source.file}: expected a text list or mmaction2's JSON, not a pickle ({PAGE})")
    if path.suffix == ".json" or not source.delimiter.isspace():
        return read_clips(path, delimiter=source.delimiter, frames=source.frames, **how)
    return read_list(str(path), frame_format="frames" if source.frames else "mp4", **how)


def _lines(entries: FileList, suffix: str) -> Iterator[str]:
    for one in entries:
        yield f"{one.path}{suffix}{'' if one.frames is None else f' {one.frames}'}{text_of(one.label)}\n"


def read_peer_labels(path: str) -> list[str]:
    """Return the names of a label file by class: one per line, with or without their numbers from 0.

    Raises InputError, with file:line, for an unreadable file, a number out of order, or a missing name.
    """
    with os_errors(InputError, f"{path}: the label list cannot be read"), open(path, "rb") as file:
        data = file.read(MAX_LABELS_BYTES + 1)
    if len(data) > MAX_LABELS_BYTES:
        raise InputError(f"{path}: the label list is larger than {MAX_LABELS_BYTES} bytes")
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path}: the label list is not UTF-8 text") from None
    numbered = bool(lines) and re.match(r"\s*0\s+\S", lines[0]) is not None
    names = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        head, _, name = line.strip().partition(" ") if numbered else ("", "", line.strip())
        if is_hidden(line.strip().replace("\t", " ")) or (numbered and (head != str(len(names)) or not name.strip())):
            expected = f"'{len(names)} NAME'" if numbered else "a name"
            raise InputError(f"{path}:{number}: expected {expected}, got {quoted(line)}")
        names.append(name.strip())
    if not names:
        raise InputError(f"{path}: the label list is empty")
    return names


def write_labels(names: list[str], target: Path) -> None:
    """Write the names as the JSON list of INFER.kinetics_labels. Raises RunError."""
    write_text(target, json.dumps(names, indent=1, ensure_ascii=False) + "\n")

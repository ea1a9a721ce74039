"""Read mmaction2's lists that differ from ours: JSON from its build_file_list.py, or text with another delimiter."""

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from reader.filelist import MAX_LINE, Entry, FileList
from reader.labels import LABELS, Label, ids_of, text_of
from utils.config.strict_yaml import one_line
from utils.errors import InputError, os_errors
from utils.storage.objects import check_path, is_remote

MOST_BYTES = 1 << 27  # Kinetics-400's list has 26 MB, and takes about ten times as much memory


def read_clips(path: Path, *, delimiter: str, num_classes: int, frames: bool, prefix: str, labels: str) -> FileList:
    """Return the clips of a list, which are at least one. delimiter: separates the columns of text.

    The other arguments are those of `read_list`. Raises InputError, with file and place, for a file that is not a list
    of clips, and for a path that a line of our lists cannot hold.
    """
    data = _content(path)
    rows = _rows_of_json(path, data, frames) if path.suffix == ".json" else _rows_of_text(path, data, delimiter, frames)
    entries = []
    for where, name, number, ids in rows:
        label: Label = tuple(sorted(set(ids))) if labels == "multi" else ids[0]
        if labels != "multi" and len(ids) != 1:
            raise InputError(f"{where}: expected one label, as the configuration has no multi_class; got {len(ids)}")
        if outside := [one for one in ids_of(label) if not 0 <= one < num_classes]:
            raise InputError(
                f"{where}: label {outside[0]} is outside 0..{num_classes - 1} (num_classes is {num_classes})"
            )
        check_path(name, where)
        name = name if is_remote(name) else os.path.join(prefix, name)
        line = f"{name}{'' if number is None else f' {number}'}{text_of(label)}"
        found = LABELS[labels].split_folder(line) if frames else (*LABELS[labels].split(line), None)
        expected = (name, str(number), label) if frames else (name, label, None)
        if not _is_text(name) or name != name.strip() or len(line) > MAX_LINE or found != expected:
            raise InputError(f"{where}: a line of a list cannot hold this path: {one_line(name)}")
        entries.append(Entry(name, label, len(entries) + 1, number))
    if not entries:
        raise InputError(f"{path}: the list is empty")
    return FileList(entries)


def _is_text(name: str) -> bool:
    """Return whether a file can hold the name, and it has no control characters such as line ends."""
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can contain
        return False
    return not any(unicodedata.category(character) == "Cc" for character in name)


def _content(path: Path) -> bytes:
    with os_errors(InputError, f"{path}: the list cannot be read"), open(path, "rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InputError(f"{path}: expected a list of clips, of at most {MOST_BYTES} bytes")
    return data


_NUMBER = re.compile(r"[0-9]{1,9}")
Row = tuple[str, str, int | None, list[int]]  # place in the file, path, frames, labels


def _rows_of_json(path: Path, data: bytes, frames: bool) -> Iterator[Row]:
    """Yield the clips of `[{"filename": ..., "label": [...]}, ...]`. frames: with "frame_dir" and "total_frames"."""
    try:
        clips = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON: {one_line(str(error))}") from None
    if not isinstance(clips, list):
        hint = ": annotations of ActivityNet cannot be converted" if isinstance(clips, dict) else ""
        raise InputError(f"{path}: expected a list of clips{hint}")
    key = "frame_dir" if frames else "filename"
    for number, clip in enumerate(clips, start=1):
        where, clip = f"{path}: clip {number}", clip if isinstance(clip, dict) else {}
        name, total, ids = clip.get(key), clip.get("total_frames") if frames else None, clip.get("label")
        ids = ids if isinstance(ids, list) else [ids]
        if not isinstance(name, str) or not ids or any(type(one) is not int for one in ids):
            raise InputError(f"{where}: expected '{key}' and 'label', whole numbers")
        if frames and (type(total) is not int or total < 1):
            raise InputError(f"{where}: expected 'total_frames', a whole number from 1")
        yield where, name, total, ids


def _rows_of_text(path: Path, data: bytes, delimiter: str, frames: bool) -> Iterator[Row]:
    """Yield the clips of lines `path,label`, or `folder,frames,label`. Only numbers may follow the path."""
    for number, line in enumerate(data.decode("utf-8-sig", "surrogateescape").split("\n"), start=1):
        if not line.strip():
            continue
        where, (name, *numbers) = f"{path}:{number}", line.strip().split(delimiter)
        numbers = [text.strip() for text in numbers]
        if len(numbers) < 1 + frames or not all(
            text.isascii() and text.isdigit() and len(text) < 10 for text in numbers
        ):
            columns = delimiter.join(("folder", "frames", "label") if frames else ("path", "label"))
            raise InputError(f"{where}: expected '{one_line(columns)}', got '{one_line(line)}'")
        total, *ids = map(int, numbers if frames else ["0", *numbers])
        yield where, name.strip(), total if frames else None, ids

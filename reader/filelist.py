"""File lists: one video per line; a list is read and checked as a whole before anything starts."""

import hashlib
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from reader.labels import FOLDER, LABELS, Label, ids_of
from utils.errors import InputError, quoted
from utils.storage.copies import on_this_machine
from utils.storage.objects import check_path, is_remote

# Longer than any path that a file system allows (Linux: 4096) plus a label.
MAX_LINE = 5000
# A line of a list for the other format: the original's YAML says pkl, but its users' lists often name videos.
VIDEO = re.compile(r"\.(mp4|avi|mkv|webm|mov)(\s+-?[0-9]+)?$", re.IGNORECASE)
# The control characters, which no path has and which would reach the terminal.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Entry:
    """A video of a list: its path, its class id or ids (None: unknown or inside the pickle), its line (from 1)."""

    path: str
    label: Label | None = None
    line: int = 0
    frames: int | None = None  # the number of frames in a folder of frames, as its line says


class FileList(Sequence[Entry]):
    """A sequence of entries, each made on access: in memory an entry takes its path in UTF-8 plus 24 bytes.

    A slice is a FileList, too. A FileList never changes.
    """

    def __init__(self, entries: Iterable[Entry]):
        self._paths, self._ends = bytearray(), array("q", [0])  # entry i is _paths[_ends[i] : _ends[i + 1]]
        # A label; -1: none; for several labels -2 - i, where _several[i] is their number and the labels follow it.
        self._labels, self._lines, self._several = array("q"), array("q"), array("q")
        self._frames = array("q")  # empty if no line has a number of frames
        for entry in entries:
            self._paths += entry.path.encode("utf-8", "surrogateescape")
            self._ends.append(len(self._paths))
            self._labels.append(self._kept(entry.label))
            self._lines.append(entry.line)
            if entry.frames is not None:
                self._frames.append(entry.frames)

    def _kept(self, label: Label | None) -> int:
        if not isinstance(label, tuple):
            return -1 if label is None else label
        self._several.extend((len(label), *label))
        return len(label) - 1 - len(self._several)

    def _label(self, kept: int) -> Label | None:
        if kept >= -1:
            return None if kept < 0 else kept
        start = -2 - kept
        return tuple(self._several[start + 1 : start + 1 + self._several[start]])

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, key: int | slice) -> "Entry | FileList":
        if isinstance(key, slice):
            return FileList(self[i] for i in range(*key.indices(len(self))))
        i = range(len(self))[key]
        path = self._paths[self._ends[i] : self._ends[i + 1]].decode("utf-8", "surrogateescape")
        frames = self._frames[i] if self._frames else None
        return Entry(path, self._label(self._labels[i]), self._lines[i], frames)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of paths, labels and frames in order, in hexadecimal; blanks and empty lines do not count."""
        found = hashlib.sha256(self._ends)
        found.update(self._labels)
        found.update(self._several)
        found.update(self._paths)
        found.update(self._frames)
        return found.hexdigest()

    def repeated(self) -> int:
        """Return how many entries repeat the path of an earlier entry, as written."""
        import numpy as np  # imported here: a process that reads no list does without it

        ends = zip(self._ends, self._ends[1:])
        # Compare hashes: those of a million paths take 16 MB, and 64 bits do not coincide by chance.
        hashes = np.fromiter((hash(bytes(self._paths[start:end])) for start, end in ends), np.int64, len(self))
        return len(self) - len(np.unique(hashes))

    @cached_property
    def label_digest(self) -> str:
        """The SHA-256 of the labels alone, in order, in hexadecimal."""
        return hashlib.sha256(bytes(self._labels) + bytes(self._several)).hexdigest()


def read_list(
    path: str,
    *,
    num_classes: int,
    frame_format: str = "mp4",
    needs_label: bool = True,
    prefix: str = "",
    labels: str = "single",
) -> FileList:
    """Return the videos of a list in its order, never empty.

    mp4: `path label`, split at the last blank, so paths may contain blanks; the label may be left out if it is not
    needed. pkl: the path alone, because the pickle holds the label. frames: `folder frames label`, split in the same
    way. Empty lines are skipped. prefix: the folder that relative paths start from. labels: MODEL.labels.

    Raises InputError if the list is missing, unreadable or empty, or a line is malformed (with file:line).
    """
    entries = FileList(_entries(path, num_classes, frame_format, needs_label, prefix, labels))
    if not entries:
        raise InputError(f"{path}: the file list is empty")
    return entries


def _entries(
    path: str, num_classes: int, frame_format: str, needs_label: bool, prefix: str, labels: str
) -> Iterator[Entry]:
    for number, text in enumerate(_lines(path), start=1):
        where = f"{path}:{number}"
        if number == 1 and "\0" in text and VIDEO.search(path):
            raise InputError(f"{path}: a video, not a list of videos: predict it with predict.py --video_path={path}")
        if len(text) > MAX_LINE or CONTROL.search(text.replace("\t", " ")):
            raise InputError(f"{where}: not a line of a file list: {quoted(text)}")
        if text := text.strip():
            text = os.path.expanduser(text) if text.startswith("~/") else text
            text = text if is_remote(text) else os.path.join(prefix, text)
            check_path(text, where)
            if frame_format == "pkl":
                if VIDEO.search(text):
                    raise InputError(
                        f"{where}: MODEL.format is pkl, but this is a video (--set MODEL.format=mp4): {quoted(text)}"
                    )
                entry = Entry(text, None, number)
            elif frame_format == "frames":
                entry = _parse_folder(text, number, where, needs_label, labels)
            else:
                entry = _parse(text, number, where, needs_label, labels)
            if outside := [one for one in ids_of(entry.label) if not 0 <= one < num_classes]:
                raise InputError(
                    f"{where}: label {outside[0]} is outside 0..{num_classes - 1} (num_classes is {num_classes})"
                )
            yield entry


def _lines(path: str):
    """Yield the lines of a text file one at a time; bytes that are not UTF-8 survive as surrogates."""
    try:
        with on_this_machine(path) as local, open(local, encoding="utf-8-sig", errors="surrogateescape") as file:
            # A bounded readline: a file without line ends is refused at its first line, not read into memory.
            while line := file.readline(MAX_LINE + 2):
                yield line.rstrip("\n")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file list") from None
    except OSError as error:
        raise InputError(f"{path}: the file list cannot be read: {error.strerror}") from None


def _parse(text: str, number: int, where: str, needs_label: bool, labels: str) -> Entry:
    head, label = LABELS[labels].split(text)
    if (
        label is not None
        and (folder := FOLDER.fullmatch(head))
        and os.path.isdir(folder[1])
        and not os.path.exists(head)
    ):
        how = "--set MODEL.format=frames, or --fps of data/reencode.py"
        raise InputError(f"{where}: a folder of frames, not a video ({how}): {quoted(text)}")
    if needs_label:
        if label is None:
            raise InputError(f"{where}: expected {LABELS[labels].line}, got {quoted(text)}{_hint(text)}")
        return Entry(head, label, number)
    # "holiday 2019" may be a path without a label: it is, if a file of exactly that name exists.
    if label is not None and not os.path.isfile(text):
        return Entry(head, label, number)
    if label is None and not os.path.exists(text) and (hint := _hint(text)) and not VIDEO.search(text):
        raise InputError(f"{where}: expected a path, got {quoted(text)}{hint}")
    return Entry(text, None, number)


def _parse_folder(text: str, number: int, where: str, needs_label: bool, labels: str) -> Entry:
    """Return the entry of a line `folder frames label` or `folder frames`. Raise InputError for any other line."""
    head, frames, label = LABELS[labels].split_folder(text)
    if label is not None and not needs_label and os.path.isdir(text.rsplit(None, 1)[0]):
        head, frames = text.rsplit(None, 1)  # "holiday 2019 120" may be a folder with a blank in its name and no label
        label = None
    elif frames is None or (needs_label and label is None):
        is_video = ": this is a video (--set MODEL.format=mp4)" if VIDEO.search(text) else _hint(text)
        expected = "folder frames label" if needs_label else "folder frames"
        raise InputError(f"{where}: expected '{expected}', got {quoted(text)}{is_video}")
    if is_remote(head):
        raise InputError(f"{where}: a folder of frames must be on a disk of this machine, not {quoted(head)}")
    if not int(frames):
        raise InputError(f"{where}: a folder with 0 frames: {quoted(text)}")
    return Entry(head, label, number, int(frames))


def _hint(text: str) -> str:
    """Return a hint on a line that other programs accept; "" if there is none."""
    if text.startswith("#"):
        return ": a list has no comments"
    if text[0] in "\"'":
        return ": write a path with blanks without quotes"
    if re.search(r"\s[0-9]+(,[0-9]+)+$", text):
        return ": several classes need --set MODEL.labels=multi"
    if match := re.fullmatch(r"(.+?)\s*[,;]\s*(-?[0-9]+)", text):
        return f": write a blank in place of the comma: {quoted(f'{match[1]} {match[2]}')}"
    if re.search(r"\.\w{2,4}\s+\S*[^\W\d]\S*$", text):
        return ": write the number of the class, as data/make_lists.py does, not its name"
    return ""

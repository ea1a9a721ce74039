"""The labels of a video, in a line of a list and in a batch: one class or several, as MODEL.labels says."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reading lists must not wait for this import
    import numpy as np

# The id of a video's class, or the ids of all its classes, ascending.
Label = int | tuple[int, ...]
_ONE = re.compile(r"-?[0-9]{1,18}")
FOLDER = re.compile(rf"(.+?)\s+([0-9]{{1,9}})(?:\s+({_ONE.pattern}))?")


class OneClass:
    """Each video has one class: `path label`."""

    line = "'path label'"

    def __init__(self, num_classes: int | None):
        self.record = "<i8"  # the NumPy type of a video's label in a file

    @staticmethod
    def split(text: str) -> tuple[str, Label | None]:
        """Return a line's path and label; the whole line and None if it has no label. A path may contain blanks."""
        head, *tail = text.rsplit(None, 1)  # at a tab, too: hand-made lists have them
        return (head, int(tail[0])) if tail and _ONE.fullmatch(tail[0]) else (text, None)

    @staticmethod
    def split_folder(text: str) -> tuple[str, str | None, Label | None]:
        """Return a line's folder, its number of frames and its label; None for a missing part."""
        folder, frames, label = match.groups() if (match := FOLDER.fullmatch(text)) else (text, None, None)
        return folder, frames, None if label is None else int(label)

    def batch(self, labels: Sequence[Label | None]) -> "np.ndarray":
        """Return int64 [N]; -1 means no label."""
        import numpy as np

        return np.array([-1 if label is None else label for label in labels], np.int64)


class ManyClasses:
    """Each video has one class or several: `path 3,17,40`, or `path 3 17 40` as mmaction2 writes it."""

    line = "'path label,label,...'"

    def __init__(self, num_classes: int | None):
        self._num_classes = num_classes or 0  # None: labels are not used
        self.record = ("u1", (self._num_classes,))

    @classmethod
    def split(cls, text: str) -> tuple[str, Label | None]:
        """Return the same as `OneClass.split`. All numbers at the end of the line are labels."""
        path, numbers = cls._numbers(text)
        return (path, tuple(sorted(set(map(int, numbers))))) if numbers else (text, None)

    @classmethod
    def split_folder(cls, text: str) -> tuple[str, str | None, Label | None]:
        """Return the same as `OneClass.split_folder`. The first number at the end of the line counts the frames."""
        path, numbers = cls._numbers(text)
        label = tuple(sorted(set(map(int, numbers[1:])))) if numbers[1:] else None
        return path, numbers[0] if numbers else None, label

    @staticmethod
    def _numbers(text: str) -> tuple[str, list[str]]:
        """Return a line's path and the numbers after it; the path is meaningless if there are none."""
        path = text.rstrip("0123456789, \t")
        glued, *tail = re.split(r"\s", text[len(path) :], maxsplit=1)  # `clip7 3,17`: the 7 belongs to the path
        numbers = [number for number in re.split(r"[\s,]+", tail[0]) if number] if tail else []
        return path + glued, numbers if path + glued and all(len(number) <= 18 for number in numbers) else []

    def batch(self, labels: Sequence[Label | None]) -> "np.ndarray":
        """Return uint8 [N, K], 1 for each class of a video."""
        import numpy as np

        found = np.zeros((len(labels), self._num_classes), np.uint8)
        for row, label in zip(found, labels if self._num_classes else ()):
            row[list(ids_of(label))] = 1
        return found


LABELS = {"single": OneClass, "multi": ManyClasses}


def ids_of(label: Label | None) -> tuple[int, ...]:
    """Return the class ids; () if there is no label."""
    return label if isinstance(label, tuple) else () if label is None else (label,)


def text_of(label: Label | None) -> str:
    """Return the label as a line of a list has it after the path, with its blank; "" if there is no label."""
    return f" {','.join(map(str, ids_of(label)))}" if label is not None else ""


def mirrored(label: Label, mirrors: Mapping[int, int]) -> Label:
    """Return the label of a mirrored clip. mirrors: from a clip's class to its mirror's, for classes that change."""
    if isinstance(label, tuple):
        return tuple(sorted(mirrors.get(one, one) for one in label))
    return mirrors.get(label, label)

"""The classes of a video: what a line of a list says of them, and what a batch holds. MODEL.labels chooses."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # lists are read without waiting for it
    import numpy as np

# Of a video: the id of its class, or those of all its classes, rising.
Label = int | tuple[int, ...]
_ONE = re.compile(r"-?[0-9]{1,18}")
FOLDER = re.compile(rf"(.+?)\s+([0-9]{{1,9}})(?:\s+({_ONE.pattern}))?")


class OneClass:
    """Each video has one class: `path label`."""

    line = "'path label'"

    def __init__(self, num_classes: int | None):
        self.record = "<i8"  # NumPy's type of what is kept of a video's label in a file

    @staticmethod
    def split(text: str) -> tuple[str, Label | None]:
        """Return a line's path and label; the whole line and None where it has no label. A path may hold blanks."""
        head, *tail = text.rsplit(None, 1)  # a tab, too, which hand-made lists hold
        return (head, int(tail[0])) if tail and _ONE.fullmatch(tail[0]) else (text, None)

    @staticmethod
    def split_folder(text: str) -> tuple[str, str | None, Label | None]:
        """Return a line's folder, its number of frames and its label; None for what it has not."""
        folder, frames, label = match.groups() if (match := FOLDER.fullmatch(text)) else (text, None, None)
        return folder, frames, None if label is None else int(label)

    def batch(self, labels: Sequence[Label | None]) -> "np.ndarray":
        """Return int64 [N]; -1 where there is none."""
        import numpy as np

        return np.array([-1 if label is None else label for label in labels], np.int64)


class ManyClasses:
    """Each video has one class or several: `path 3,17,40`, or as mmaction2 writes it `path 3 17 40`."""

    line = "'path label,label,...'"

    def __init__(self, num_classes: int | None):
        self._num_classes = num_classes or 0  # None: of labels no use is made
        self.record = ("u1", (self._num_classes,))

    @classmethod
    def split(cls, text: str) -> tuple[str, Label | None]:
        """Return as `OneClass.split`. All numbers at the line's end are labels."""
        path, numbers = cls._numbers(text)
        return (path, tuple(sorted(set(map(int, numbers))))) if numbers else (text, None)

    @classmethod
    def split_folder(cls, text: str) -> tuple[str, str | None, Label | None]:
        """Return as `OneClass.split_folder`. The first of the numbers at the line's end is that of the frames."""
        path, numbers = cls._numbers(text)
        label = tuple(sorted(set(map(int, numbers[1:])))) if numbers[1:] else None
        return path, numbers[0] if numbers else None, label

    @staticmethod
    def _numbers(text: str) -> tuple[str, list[str]]:
        """Return a line's path and the numbers behind it; of no use where there are none."""
        path = text.rstrip("0123456789, \t")
        glued, *tail = re.split(r"\s", text[len(path) :], maxsplit=1)  # `clip7 3,17`: the 7 is of the path
        numbers = [number for number in re.split(r"[\s,]+", tail[0]) if number] if tail else []
        return path + glued, numbers if path + glued and all(len(number) <= 18 for number in numbers) else []

    def batch(self, labels: Sequence[Label | None]) -> "np.ndarray":
        """Return uint8 [N, K] with 1 for each class of a video."""
        import numpy as np

        found = np.zeros((len(labels), self._num_classes), np.uint8)
        for row, label in zip(found, labels if self._num_classes else ()):
            row[list(ids_of(label))] = 1
        return found


LABELS = {"single": OneClass, "multi": ManyClasses}


def ids_of(label: Label | None) -> tuple[int, ...]:
    """Return the ids of the classes."""
    return label if isinstance(label, tuple) else () if label is None else (label,)


def text_of(label: Label | None) -> str:
    """Return what a line of a list has behind the path, with its blank; "" where there is no label."""
    return f" {','.join(map(str, ids_of(label)))}" if label is not None else ""


def mirrored(label: Label, mirrors: Mapping[int, int]) -> Label:
    """Return the label of a mirrored clip. mirrors: the class of one by that of the clip, where it is another."""
    if isinstance(label, tuple):
        return tuple(sorted(mirrors.get(one, one) for one in label))
    return mirrors.get(label, label)

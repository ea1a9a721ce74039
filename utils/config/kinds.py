"""Define the kinds of values for keys and flags. Each reads a value or raises ValueError, and says what it allows."""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, both included. True, 3.0 and "3" are not whole numbers."""

    low: int
    high: int | None = None

    def read(self, value: object) -> int:
        if type(value) is not int or value < self.low or (self.high is not None and value > self.high):
            raise ValueError
        return value

    def __str__(self) -> str:
        return f"a whole number from {self.low} " + ("up" if self.high is None else f"to {self.high}")


@dataclass(frozen=True)
class Number:
    """A finite number from `low` to `high`. With `above`, `low` itself is excluded; with `below`, `high` is."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def read(self, value: object) -> float:
        if type(value) not in (int, float) or not math.isfinite(value) or not self.low <= value <= self.high:
            raise ValueError
        if (self.above and value == self.low) or (self.below and value == self.high):
            raise ValueError
        return float(value)

    def __str__(self) -> str:
        low = f"a number above {self.low:g}" if self.above else f"a number from {self.low:g}"
        if self.high == math.inf:
            return low if self.above else f"{low} up"
        return low + (f", below {self.high:g}" if self.below else f" to {self.high:g}")


@dataclass(frozen=True)
class Truth:
    """True or False."""

    def read(self, value: object) -> bool:
        if type(value) is not bool:
            raise ValueError
        return value

    def __str__(self) -> str:
        return "True or False"


@dataclass(frozen=True)
class Text:
    """A text on one line, for example a path. `empty` allows ''."""

    empty: bool = False

    def read(self, value: object) -> str:
        value = "" if value is None and self.empty else value
        if not isinstance(value, str) or not (value.strip() or self.empty):
            raise ValueError
        if any(c < " " or c == "\x7f" for c in value):
            raise ValueError
        if value.startswith("~/"):  # shells do not expand it after --flag=
            value = os.path.expanduser(value)
        os.fsencode(value)  # raises UnicodeEncodeError, a ValueError, for text that no path can hold
        return value

    def __str__(self) -> str:
        return "a text" if self.empty else "a text that is not empty"


class Template(Text):
    """A file name with one field for a whole number, and no other syntax of str.format."""

    def read(self, value: object) -> str:
        """Return the name. Raises ValueError for anything else."""
        value = super().read(value)
        if not re.fullmatch(r"[^{}/]*\{(:(0[1-9])?d?)?\}[^{}/]*", value):
            raise ValueError
        return value

    def __str__(self) -> str:
        return "the name of a file with one number in braces"


@dataclass(frozen=True)
class Choice:
    """One of a few words or numbers. In YAML, the word off without quotes is False."""

    options: tuple

    def read(self, value: object) -> object:
        if value is False and "off" in self.options:
            return "off"
        if not any(type(value) is type(option) and value == option for option in self.options):
            raise ValueError
        return value

    def __str__(self) -> str:
        return ("one of " if len(self.options) > 1 else "") + ", ".join(map(str, self.options))


@dataclass(frozen=True)
class ListOf:
    """A list of values of one kind, at least one; `fits` says whether they go together, `text` what is allowed."""

    each: Number | Whole
    text: str
    fits: Callable[[tuple], bool] = bool

    def read(self, value: object) -> tuple:
        if not isinstance(value, list | tuple):
            raise ValueError
        values = tuple(self.each.read(one) for one in value)
        if not values or not self.fits(values):
            raise ValueError
        return values

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class WordOr:
    """One of a few words, or a value of another kind."""

    words: tuple[str, ...]
    other: Whole | ListOf

    def read(self, value: object) -> object:
        return value if value in self.words else self.other.read(value)

    def __str__(self) -> str:
        return f"{', '.join(self.words)}, or {self.other}"


@dataclass(frozen=True)
class Pairs:
    """Pairs of classes, each by name or number; no class occurs twice."""

    def read(self, value: object) -> tuple[tuple[str | int, str | int], ...]:
        pairs = tuple(tuple(pair) if isinstance(pair, list | tuple) else () for pair in value or ())
        classes = [one for pair in pairs for one in pair]
        if any(len(pair) != 2 for pair in pairs) or any(type(one) not in (int, str) for one in classes):
            raise ValueError
        if len(set(classes)) < len(classes):
            raise ValueError
        return pairs

    def __str__(self) -> str:
        return "a list of pairs of classes, each by its name or number, none of them twice"


Kind = Whole | Number | Truth | Text | Choice | ListOf | WordOr | Pairs

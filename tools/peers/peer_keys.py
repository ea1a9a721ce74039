"""Track which parts of a peer's configuration were converted, and collect our keys and the notes."""

import json
import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields

from tools.peers.peer_python import Unread
from utils.config.foreign import PAGE
from utils.config.keys import SECTIONS
from utils.config.published import published_weights
from utils.config.strict_yaml import one_line
from utils.errors import InputError

NETWORKS = "supported are TSN, TSM, PP-TSN, PP-TSM and PP-TSMv2 on RGB frames"
AUTO = "MODEL.decoder stays auto, which reads the same frames"
CLASSIFIER = "the classifier starts from uniform values within +-1/sqrt(features)"
_READING = ("VALID", "TRAIN", "TEST")  # MODEL gets the value of the first section that has one
# Keys that MODEL holds for all sections; each list has its own prefix, or none.
_INHERITED = [item.name for item in fields(SECTIONS["VALID"]) if item.metadata["inherited"]]
_INHERITED.remove("data_prefix")


class Theirs:
    """A part of a peer's configuration. All parts share the set of the parts that were asked for."""

    def __init__(self, value: object, path: tuple = (), name: str = "", asked: set | None = None, there: bool = True):
        self.value, self.path, self.name, self.there = value, path, name, there
        self._asked = set() if asked is None else asked

    def at(self, *keys: str | int) -> "Theirs":
        """Return the part below the keys; its value is None if it does not exist."""
        part = self
        for key in keys:
            held = part.value
            if isinstance(held, list | tuple):
                there = isinstance(key, int) and key < len(held)
            else:
                there = isinstance(held, dict) and key in held
            value = held[key] if there else None
            part = Theirs(value, (*part.path, key), part._name(key, value), self._asked, there)
        return part

    def _name(self, key: str | int, value: object) -> str:
        """Return the name of the part below a key. Pipeline steps have the names of their types."""
        if isinstance(key, int):
            key = value.get("type", "") if isinstance(value, dict) else key
        return f"{self.name}.{one_line(str(key))}".strip(".") if key != "" else self.name

    def ask(self, *keys: str) -> "Theirs":
        """Return the part below the keys. From now on it counts as asked for, with everything in it."""
        part = self.at(*keys)
        if part.there:
            self._asked.add(part.path)
        return part

    def get(self, *keys: str) -> object:
        """Return the value of `ask`; None if it does not exist."""
        return self.ask(*keys).value

    def first(self, *ways: tuple[str, ...]) -> "Theirs":
        """Return `ask` of the first part that exists."""
        return self.ask(*next((way for way in ways if self.at(*way).value is not None), ways[0]))

    @property
    def word(self) -> str:
        """Return the value if it is text, for example a class's name; otherwise ""."""
        return self.value if isinstance(self.value, str) else ""

    def parts(self) -> list["Theirs"]:
        """Return the parts of a list."""
        return [self.at(i) for i in range(len(self.value))] if isinstance(self.value, list | tuple) else []

    def __str__(self) -> str:
        value = self.value.text if isinstance(self.value, Unread) else self.value
        return self.name if isinstance(value, dict | list) else f"{self.name} {one_line(str(value), 60)}"

    def rest(self) -> Iterator["Theirs"]:
        """Yield the parts that were not asked for, in the largest possible pieces."""
        if self.path in self._asked or self.value in (None, False):
            return
        if any(path[: len(self.path)] == self.path for path in self._asked):
            for key in self.value if isinstance(self.value, dict) else range(len(self.value)):
                yield from self.at(key).rest()
        else:
            yield self


class Ours:
    """Our configuration while it is made: values by section, and notes on differences."""

    def __init__(self, file: str):
        self.file, self.notes, self.flags = file, [], []
        self.values: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}

    def put(self, name: str, theirs: Theirs, value: object = None) -> None:
        """Set SECTION.key to the peer's value, or to `value`, which was made from it; None keeps the default.

        Raises InputError if the key does not accept it.
        """
        value = theirs.value if value is None else value
        section, key = name.split(".")
        if isinstance(value, Unread):
            self.say(theirs, f"would have to be run, left out: set {name}")
        elif value is not None:
            kind = next(item.metadata["kind"] for item in fields(SECTIONS[section]) if item.name == key)
            try:
                self.values[section][key] = kind.read(value)
            except ValueError:
                raise InputError(f"{self.file}: {theirs}: {name} takes {kind}, not {one_line(str(value))}") from None

    def number(self, theirs: Theirs, default: float | None = None) -> float | None:
        """Return the peer's value if it is a number, otherwise the default. Raises InputError if it cannot be one."""
        if isinstance(theirs.value, Unread):
            self.say(theirs, "would have to be run: left out")
        elif theirs.value is not None:
            if type(theirs.value) not in (int, float):
                raise InputError(f"{self.file}: {theirs}: expected a number")
            return theirs.value
        return default

    def start_from(self, theirs: Theirs) -> None:
        """Start training from the weights that the peer names: a local file, published weights, or an address."""
        text = theirs.value
        if not isinstance(text, str):
            self.put("TRAIN.pretrain", theirs, text if isinstance(text, Unread) else text or "none")
            return
        scheme, _, name = text.rpartition("://")
        file = text.rpartition("/")[2]
        known = next((row.name for row in published_weights() if row.url.rpartition("/")[2] == file), "")
        if os.path.exists(text) or not (known or scheme):
            if text and not os.path.exists(text):
                self.say(theirs, "no such file here: TRAIN.pretrain keeps the path")
            self.put("TRAIN.pretrain", theirs, text or "none")
        elif scheme == "torchvision" and any(row.name == name for row in published_weights()):
            self.put("TRAIN.pretrain", theirs, name)
            self.say(theirs, "TRAIN.pretrain takes torchvision's second weights of this network")
        elif known or scheme == "https":
            self.put("TRAIN.pretrain", theirs, known or text)
        else:
            self.say(theirs, "such addresses are not supported: give --pretrain=FILE")

    def say(self, theirs: Theirs | str, text: str) -> None:
        """Note a difference from the peer's configuration."""
        line = f"{theirs}: {text}"
        if line not in self.notes:
            self.notes.append(line)

    def refuse(self, theirs: Theirs, why: str) -> InputError:
        """Return the error for a configuration that is not supported."""
        return InputError(f"{self.file}: {theirs}: {why}; {NETWORKS} ({PAGE})")

    def text(self, heading: Sequence[str]) -> str:
        """Return the YAML, with heading and notes as comments. Values that all sections share are MODEL's."""
        values = {section: dict(given) for section, given in self.values.items()}
        for key in ("short_size", "target_size"):  # by default, the frame size used in training
            usual = values["VALID"].get(key, values["TRAIN"].get(key))
            for section in ("VALID", "TEST", "INFER") if usual else ():
                values[section].setdefault(key, usual)
        for key in _INHERITED:
            said = [values[section][key] for section in _READING if key in values[section]]
            if said and key not in values["MODEL"]:
                values["MODEL"][key] = said[0]
            for section in _READING:
                if values[section].get(key) == values["MODEL"].get(key):
                    values[section].pop(key, None)
        said = [textwrap.wrap(one_line(line, 2000), 116) for line in (*heading, *self.notes)]
        lines = [f"# {line}" for lines in said for line in lines]
        for section, given in values.items():
            lines += ["", f"{section}:"] if given else []
            lines += [f"    {key}: {_written(value)}" for key, value in given.items()]
        return "\n".join(lines) + "\n"


def _written(value: object) -> str:
    """Return a value as YAML."""
    return str(value) if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)

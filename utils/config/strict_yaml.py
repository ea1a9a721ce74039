"""Read YAML for configurations: each value with its place in the file, and without YAML's surprises."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import yaml

from utils.config.foreign import config_advice
from utils.errors import InputError, os_errors

MAX_BYTES = 100_000  # thirty times a full configuration; PyYAML takes up to a second for this size
MAX_DEPTH = 8  # a configuration needs three: section, key, list

_NULL = {"", "~", "null"}
_BOOL = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}  # YAML 1.1
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]{0,17})")  # no octal, no 1:30; longer ones become floats, which fail later
# No part can match the same digits as the next, so time stays linear. YAML 1.1 wants a point; people write 1e-4.
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[-+]?\.(?i:inf|nan)")


@dataclass(frozen=True)
class Item:
    """A given value (None, bool, int, float, str, a list, or a dict of Items) as written, and its place."""

    value: object
    raw: str
    where: str


def one_line(text: str, limit: int = 80) -> str:
    """Return `text` on one line without control characters, cut to `limit` characters."""
    text = " ".join(text.split())
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_file(path: str | os.PathLike) -> dict[str, Item]:
    """Return the top-level mapping of a YAML file.

    Raises InputError (`path:line: ...`) for a file that cannot be read, is not UTF-8 or not YAML, has a duplicate key,
    an alias, an anchor or a tag, or belongs to a peer.
    """
    name, text = read_text(path)
    if advice := config_advice(name, text):
        raise InputError(f"{name}: {advice}")
    return parse_mapping(name, text)


def read_text(path: str | os.PathLike) -> tuple[str, str]:
    """Return (the path as in messages, the file's text). Raises InputError as `read_file` does."""
    name = one_line(os.fspath(path), limit=4096)
    with os_errors(InputError, f"{name}: cannot be read"), open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise InputError(f"{name}: larger than {MAX_BYTES} bytes: not a configuration")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}:{line}: not UTF-8 text") from None
    return name, text


def parse_mapping(name: str, text: str) -> dict[str, Item]:
    """Return the top-level mapping in the text of the file `name`. Raises InputError as `read_file` does."""
    item = parse(text, lambda line: f"{name}:{line}")
    if item.value is None:
        raise InputError(f"{name}: the file is empty")
    if not isinstance(item.value, dict):
        raise InputError(f"{item.where}: expected sections like `MODEL:`, not {item.raw}")
    return item.value


def parse(text: str, locate: Callable[[int], str]) -> Item:
    """Return the only document in `text`. `locate(line)` names a line (from 1) in messages."""
    loader = None
    try:
        loader = _StrictLoader(text)
        node = loader.get_single_node()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(f"{locate(line)}: not valid YAML: character {chr(error.character)!r}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InputError(f"{locate(mark.line + 1)}: {_problem(error)}") from None
    except (ValueError, OverflowError):
        # PyYAML converts escapes like "\UFFFFFFFF" and numbers in directives without checking their size.
        raise InputError(f"{locate(loader.get_mark().line + 1)}: not valid YAML: a number out of range") from None
    if node is None:
        return Item(None, "nothing", locate(1))
    return _item(node, text, locate)


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that configurations do not allow."""


class _StrictLoader(yaml.SafeLoader):
    """Composes nodes only, constructs nothing, and stops at anchors, aliases, tags and deep nesting."""

    depth = 0

    def compose_node(self, parent, index):
        event = self.peek_event()
        if event.anchor is not None:  # aliases have an anchor too
            raise _Refused(problem="anchors and aliases (& and *) are not accepted", problem_mark=event.start_mark)
        if event.tag is not None:
            raise _Refused(problem=f"tags are not accepted: {event.tag}", problem_mark=event.start_mark)
        if self.depth == MAX_DEPTH:
            raise _Refused(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _problem(error: yaml.MarkedYAMLError) -> str:
    if isinstance(error, _Refused):
        return one_line(error.problem)
    if "'\\t'" in (error.problem or ""):
        return "not valid YAML: a tab; indent with blanks"
    return f"not valid YAML: {one_line(error.problem or error.context)}"


def _item(node: yaml.Node, text: str, locate: Callable[[int], str]) -> Item:
    where = locate(node.start_mark.line + 1)
    raw = one_line(text[node.start_mark.index : node.end_mark.index]) or "nothing"
    if isinstance(node, yaml.ScalarNode):
        return Item(_scalar(node), raw, where)
    if isinstance(node, yaml.SequenceNode):
        return Item([_item(child, text, locate).value for child in node.value], raw, where)
    items: dict[str, Item] = {}
    for key_node, value_node in node.value:
        place = locate(key_node.start_mark.line + 1)
        if not isinstance(key_node, yaml.ScalarNode):
            raise InputError(f"{place}: a key must be a word")
        key = key_node.value
        if key in items:
            raise InputError(f"{place}: duplicate key {one_line(key)}, first given at {items[key].where}")
        value = _item(value_node, text, locate)
        items[key] = Item(value.value, value.raw, place)
    return Item(items, raw, where)


def _scalar(node: yaml.ScalarNode) -> object:
    """Return a plain scalar's value; quoted text and block text are str."""
    text = node.value
    if node.style is not None:
        return text
    if text.lower() in _NULL:
        return None
    if text.lower() in _BOOL:
        return _BOOL[text.lower()]
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    return text

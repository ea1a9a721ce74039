"""Read the assignments of a Python configuration of mmaction2 without running it.

Values are literals, `dict(...)`, names assigned earlier and their items, sums, products, f-strings, and the contents of
`_base_` files. A child's dictionary is merged over its base's, unless it has `_delete_`. Other values become `Unread`.
"""

import ast
import copy
import os
from dataclasses import dataclass
from pathlib import Path

from utils.config.strict_yaml import one_line, read_text
from utils.errors import InputError

MOST_FILES = 20  # real configurations have five
MOST_UP = 6  # folders above the file that names a base; real configurations need two
MOST_VALUES = 100_000  # in all files: a few lines that double a list can make any number of values
MOST_DEPTH = 50  # of dictionaries within each other
MOST_TEXT = 10_000  # characters of a composed text
MOST_NUMBER = 10**15
_NUMBERS = {ast.Add: lambda a, b: a + b, ast.Sub: lambda a, b: a - b, ast.Mult: lambda a, b: a * b}
_NUMBERS |= {ast.Div: lambda a, b: a / b, ast.FloorDiv: lambda a, b: a // b}


@dataclass(frozen=True)
class Unread:
    """The text of an expression that would have to be run."""

    text: str


@dataclass(frozen=True)
class Python:
    """The assignments of a configuration and its bases."""

    values: dict[str, object]
    helpers: set[str]  # names that other values were made from
    unread: list[str]  # file:line and text of the lines that would have to be run


def read_python(path: str) -> Python:
    """Return the file's assignments.

    Raises InputError, with file:line, for a file that is not Python or too large, or a `_base_` that cannot be read.
    """
    reader = _ConfigReader(Path(path))
    return Python(reader.read(Path(path), ()), reader.helpers, reader.unread)


class _ConfigReader:
    """The limits on files and values for a configuration and its bases."""

    def __init__(self, start: Path):
        self._start, self._files, self._values = start, 0, 0
        self.helpers: set[str] = set()
        self.unread: list[str] = []

    def read(self, path: Path, above: tuple[Path, ...]) -> dict[str, object]:
        self._files += 1
        if self._files > MOST_FILES:
            raise InputError(f"{self._start}: more than {MOST_FILES} files of _base_")
        name, text = read_text(path)
        try:
            lines = ast.parse(text).body
        except SyntaxError as error:
            raise InputError(f"{name}:{error.lineno or 1}: expected Python: {one_line(str(error.msg))}") from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise InputError(f"{name}: expected Python: {one_line(str(error)) or 'too deep'}") from None
        self._name, base, own = name, {}, {}
        for line in lines:
            target, value = _assignment(line)
            found = self._value(value, own, base) if target else None
            if isinstance(target, ast.Name) and target.id == "_base_":
                base = self._bases(found, path, above)
                self._name = name
            elif isinstance(target, ast.Name):
                own[target.id] = found
            elif not (target and _set(target, found, own)) and not _is_text(line):
                self.unread.append(f"{name}:{line.lineno}: {_text(line)}")
        return _merged(base, own)

    def _bases(self, names: object, path: Path, above: tuple[Path, ...]) -> dict[str, object]:
        """Return the merged contents of the files that `_base_` names; later ones override earlier ones."""
        found: dict[str, object] = {}
        for name in [names] if isinstance(names, str) else names if isinstance(names, list | tuple) else [names]:
            where = f"{self._name}: _base_ {one_line(str(name))}"
            if not isinstance(name, str) or not name.endswith(".py") or os.path.isabs(name) or "\0" in name:
                raise InputError(f"{where}: expected the path of a .py file, from this one's folder")
            file = Path(os.path.normpath(path.parent / name))
            if name.split("/").count("..") > MOST_UP or not file.is_file():
                raise InputError(f"{where}: no such file: {file}")
            if file in (path, *above):
                raise InputError(f"{where}: a file cannot be its own base")
            found = _merged(found, self.read(file, (path, *above)))
        return found

    def _value(self, node: ast.expr | None, own: dict, base: dict) -> object:
        self._count(1)
        inner = lambda child: self._value(child, own, base)  # noqa: E731
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return node.value
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                found = [inner(part) for part in parts]
                return found if isinstance(node, ast.List) else tuple(found)
            case ast.Dict(keys=keys, values=values):
                return _paired([key if key is None else inner(key) for key in keys], map(inner, values))
            case ast.Call(func=ast.Name(id="dict"), args=args, keywords=keywords):
                found = {}
                for part in args:
                    found |= value if isinstance(value := inner(part), dict) else {"": Unread(_text(part))}
                names = [word.arg for word in keywords]
                return found | _paired(names, [inner(word.value) for word in keywords])
            case ast.Name(id=name) if name in own:
                self.helpers.add(name)
                return self._copy(own[name])
            case ast.Attribute(value=ast.Name(id="_base_"), attr=name) if name in base:
                return self._copy(base[name])
            case ast.Subscript(value=of, slice=key) | ast.Attribute(value=of, attr=key):
                of, key = inner(of), key if isinstance(key, str) else inner(key)
                if isinstance(of, dict) and isinstance(key, str | int) and key in of:
                    return of[key]
                if isinstance(of, list | tuple) and type(key) is int and -len(of) <= key < len(of):
                    return of[key]
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                if type(value := inner(operand)) in (int, float):
                    return -value
            case ast.BinOp(left=left, op=op, right=right):
                if (value := self._combined(type(op), inner(left), inner(right))) is not None:
                    return value
            case ast.JoinedStr(values=parts):
                found = [inner(p.value if isinstance(p, ast.FormattedValue) else p) for p in parts]
                plain = all(not isinstance(p, ast.FormattedValue) or p.format_spec is None for p in parts)
                if plain and all(type(part) in (str, int) for part in found):
                    return self._short("".join(map(str, found)))
        return Unread(_text(node))

    def _combined(self, op: type, one: object, other: object) -> object:
        """Return the value of `one op other`; None if it is too large or the operation is not supported."""
        kinds = {type(one), type(other)}
        if kinds <= {int, float} and op in _NUMBERS and not (other == 0 and op in (ast.Div, ast.FloorDiv)):
            value = _NUMBERS[op](one, other)
            return value if abs(value) < MOST_NUMBER else None
        if op is ast.Add and len(kinds) == 1 and kinds <= {str, list, tuple}:
            return self._short(one + other) if kinds == {str} else one + other
        if op is ast.Mult and isinstance(one, list) and type(other) is int and 0 <= other <= 1000:
            self._count(len(one) * other)
            return [self._copy(part) for part in one * other]
        return None

    def _short(self, text: str) -> str | None:
        return text if len(text) <= MOST_TEXT else None

    def _copy(self, value: object) -> object:
        """Return a copy, because dictionaries may change later. Its values count again."""
        left = [(value, 0)]
        while left:
            one, depth = left.pop()
            self._count(1 if depth < MOST_DEPTH else MOST_VALUES)
            parts = one.values() if isinstance(one, dict) else one if isinstance(one, list | tuple) else ()
            left += [(part, depth + 1) for part in parts]
        return copy.deepcopy(value)

    def _count(self, number: int) -> None:
        self._values += number
        if self._values > MOST_VALUES:
            raise InputError(f"{self._name}: its values are too many or too deep for a configuration")


def _assignment(line: ast.stmt) -> tuple[ast.Name | ast.Subscript | None, ast.expr | None]:
    """Return a line's target and value; (None, None) if it is not an assignment."""
    match line:
        case ast.Assign(targets=[ast.Name() | ast.Subscript() as target]):
            return target, line.value
        case ast.AnnAssign(target=ast.Name() as target, value=ast.expr()):
            return target, line.value
    return None, None


def _is_text(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)


def _set(target: ast.Subscript, value: object, own: dict[str, object]) -> bool:
    """Execute a line like `train_dataloader['batch_size'] = 4`; return whether the dictionary exists."""
    keys = []
    while isinstance(target, ast.Subscript):
        keys.append(target.slice.value if isinstance(target.slice, ast.Constant) else None)
        target = target.value
    place = own.get(target.id) if isinstance(target, ast.Name) else None
    for key in reversed(keys[1:]):
        if isinstance(place, dict):
            place = place.get(key)
        else:
            place = place[key] if isinstance(place, list) and type(key) is int and 0 <= key < len(place) else None
    known = isinstance(place, dict) and isinstance(keys[0], str)
    if known:
        place[keys[0]] = value
    return known


def _paired(keys: list[object], values: object) -> dict[object, object]:
    """Return a dictionary of keys and values. The key None means `**` before a dictionary."""
    found: dict[object, object] = {}
    for key, value in zip(keys, values):
        if key is None and isinstance(value, dict):
            found |= value
        elif isinstance(key, str | int):
            found[key] = value
        else:
            found["**"] = value if isinstance(value, Unread) else Unread(one_line(str(key)))
    return found


def _merged(base: dict, own: dict) -> dict:
    """Return the child's dictionary merged over its base's."""
    found = {} if own.get("_delete_") is True else dict(base)
    for key, value in own.items():
        if key == "_delete_":
            continue
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = _merged(found[key] if both else {}, value) if isinstance(value, dict) else value
    return found


def _text(node: ast.AST | None) -> str:
    try:
        return one_line(ast.unparse(node)) if node is not None else "nothing"
    except RecursionError:
        return "an expression"

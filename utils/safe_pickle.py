"""Read plain data and arrays from a pickle with a small interpreter that allows nothing else.

pickle.load and paddle.load call any function that the file names. Here, pickletools reads the operations, and they run
on a stack of our own. The only callables are the few functions below, which build arrays, and no allocation is larger
than the file. Protocols 1 to 4, as written by Python 2 and 3. models/weights/pytorch.py adds the parts for PyTorch's
pickles.
"""

import io
import math
import pickletools
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from utils.errors import FormatError

# A ResNet-152 takes about 30,000; the limit bounds time and memory for a file of tiny operations.
MAX_OPERATIONS = 1_000_000
MAX_DIMENSIONS = 8
_DTYPE = re.compile(r"[<>=|]?([fiu][1248]|b1)")
_MARK = object()
# Operations that push the number or string that they carry.
_LITERALS = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8".split()
)


class _DType:
    """A numpy dtype under construction: pickles set the byte order in a second step."""

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            shown = repr(code[:20]) if isinstance(code, str) else f"a {type(code).__name__}"
            raise FormatError(f"it holds an array of dtype {shown}, which is no plain number")
        self.dtype = np.dtype(code)

    def build(self, state: Any, machine: "Machine") -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 4 else None
        if order not in ("<", ">", "=", "|") or any(part is not None for part in state[2:5]):
            raise FormatError("it holds an array with fields, which is no plain number")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array under construction: pickles give its shape and bytes in a second step."""

    def __init__(self, *_: Any):
        self.value: np.ndarray | None = None

    def build(self, state: Any, machine: "Machine") -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise FormatError("it holds an array without shape and data")
        _, shape, dtype, fortran_order, data = state
        self.value = _to_array(shape, dtype, data, "F" if fortran_order else "C", machine)


def _to_array(shape: Any, dtype: Any, data: Any, order: str, machine: "Machine") -> np.ndarray:
    """Return the bytes `data` as an array without copying.

    Raises FormatError if they do not match the declared shape.
    """
    if isinstance(data, str):
        data = _latin1_bytes(data, "latin1", machine=machine)  # a Python 2 string
    if not isinstance(dtype, _DType) or not isinstance(data, bytes):
        raise FormatError("it holds an array that is not made of plain numbers")
    if not isinstance(shape, tuple) or len(shape) > MAX_DIMENSIONS or not all(is_size(size) for size in shape):
        raise FormatError("it holds an array without a proper shape")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise FormatError(f"it declares an array of shape {list(shape)} and {dtype.dtype} in {len(data)} bytes")
    return np.frombuffer(data, dtype.dtype).reshape(shape, order=order)


def is_size(size: Any) -> bool:
    """Return whether `size` can be an array's size in one dimension."""
    return type(size) is int and 0 <= size < 2**40


def _new_array(*_: Any, machine: "Machine") -> _Array:
    return _Array()


def _new_dtype(*arguments: Any, machine: "Machine") -> _DType:
    return _DType(*arguments[:1] or (None,))


def _new_scalar(*arguments: Any, machine: "Machine") -> np.ndarray:
    dtype, data = arguments if len(arguments) == 2 else (None, None)
    return _to_array((), dtype, data, "C", machine)


def _new_dict(*arguments: Any, machine: "Machine") -> dict:
    if arguments:
        raise FormatError("it holds an ordered dictionary built from a list")
    return {}


def _latin1_bytes(*arguments: Any, machine: "Machine") -> bytes:
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] not in ("latin1", "latin-1"):
        raise FormatError("it calls _codecs.encode for something else than bytes")
    machine.charge(len(arguments[0]))
    return arguments[0].encode("latin1")


def _empty_bytes(*arguments: Any, machine: "Machine") -> bytes:
    if arguments:
        raise FormatError("it calls bytes for something else than no bytes")
    return b""


def _not_callable(*_: Any, machine: "Machine") -> None:
    raise FormatError("it calls numpy.ndarray")


# The names that a pickle of arrays may use, in the spellings of NumPy 1 and 2.
_GLOBALS: dict[str, Callable] = {
    "numpy.core.multiarray._reconstruct": _new_array,
    "numpy._core.multiarray._reconstruct": _new_array,
    "numpy.core.multiarray.scalar": _new_scalar,
    "numpy._core.multiarray.scalar": _new_scalar,
    "numpy.dtype": _new_dtype,
    "numpy.ndarray": _not_callable,  # an argument of _reconstruct
    "collections.OrderedDict": _new_dict,
    "_codecs.encode": _latin1_bytes,
    "__builtin__.bytes": _empty_bytes,  # how Python 3 writes b"" for Python 2
}


class Machine:
    """The stack machine of the pickle protocol, restricted to dictionaries, tuples, lists, numbers, strings, arrays."""

    def __init__(self, data: bytes, start: int = 0):
        """Prepare for the pickle that begins at `start`. After `run`, `file` stands after its end."""
        self.file = io.BytesIO(data)
        self.file.seek(start)
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.budget = len(data)

    def charge(self, num_bytes: int) -> None:
        """Raise FormatError if more bytes were copied than the file has."""
        self.budget -= num_bytes
        if self.budget < 0:
            raise FormatError("it uses the same bytes many times")

    def since_mark(self) -> list[Any]:
        """Remove the last mark and the items above it from the stack, and return the items.

        Raises FormatError if there is no mark.
        """
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                items = self.stack[position + 1 :]
                del self.stack[position:]
                return items
        raise FormatError("it is damaged: a mark is missing")

    def find(self, name: str) -> Any:
        """Return the replacement for the function or class that the pickle calls `name`. Raises FormatError."""
        if name not in _GLOBALS:
            raise FormatError(f"it calls {name[:80]!r}, which plain data does not need; the file is not to be trusted")
        return _GLOBALS[name]

    def run(self) -> Any:
        """Return the pickle's single object. Raises FormatError, ValueError, IndexError or KeyError."""
        for count, (operation, argument, _) in enumerate(pickletools.genops(self.file)):
            if count >= MAX_OPERATIONS:
                raise FormatError(f"it has more than {MAX_OPERATIONS} operations")
            if operation.name == "STOP":
                return self.stack.pop()
            self.step(operation.name, argument)
        raise FormatError("it is damaged: no end")

    def step(self, name: str, argument: Any) -> None:
        """Execute one operation."""
        stack = self.stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "MARK":
                stack.append(_MARK)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(name == "NEWTRUE")
            case "EMPTY_DICT" | "EMPTY_LIST" | "EMPTY_TUPLE":
                stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
            case "TUPLE" | "LIST":
                items = self.since_mark()
                stack.append(tuple(items) if name == "TUPLE" else items)
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(name[-1])
                stack[-size:] = [tuple(stack[-size:])]
            case "DICT":
                stack.append(self.set_items({}, self.since_mark()))
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                self.set_items(stack[-1], [key, value])
            case "SETITEMS":
                items = self.since_mark()
                self.set_items(stack[-1], items)
            case "APPEND" | "APPENDS":
                items = [stack.pop()] if name == "APPEND" else self.since_mark()
                self.append_items(stack[-1], items)
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(self.find(argument.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                attribute, module = stack.pop(), stack.pop()
                if not isinstance(attribute, str) or not isinstance(module, str):
                    raise FormatError("it is damaged: a name that is no string")
                stack.append(self.find(f"{module[:200]}.{attribute[:200]}"))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(self.call(function, arguments))
            case "BUILD":
                state = stack.pop()
                if not isinstance(stack[-1], _Array | _DType):
                    raise FormatError("it sets the attributes of an object")
                stack[-1].build(state, self)
            case _ if name in _LITERALS:
                stack.append(argument)
            case _:
                raise FormatError(f"it uses {name}, which plain data does not need; the file is not to be trusted")

    def call(self, function: Any, arguments: Any) -> Any:
        """Call one of our functions and return its result."""
        if not isinstance(arguments, tuple) or not callable(function):
            raise FormatError("it is damaged: a call of what is no function")
        return function(*arguments, machine=self)

    def append_items(self, target: Any, items: list[Any]) -> None:
        if not isinstance(target, list):
            raise FormatError("it is damaged: no list to append to")
        target.extend(items)

    def set_items(self, target: Any, items: list[Any]) -> Any:
        """Put the alternating keys and values in `items` into `target`, and return it. Keys are strings."""
        if not isinstance(target, dict) or len(items) % 2:
            raise FormatError("it is damaged: no dictionary to add to")
        for key, value in zip(items[::2], items[1::2]):
            if isinstance(key, bytes):
                key = key.decode("latin1")
            if not isinstance(key, str):
                raise FormatError(f"it has a key of type {type(key).__name__}, expected names")
            target[key] = value
        return target


def unpickle(data: bytes) -> Any:
    """Return the pickled object: dictionaries, tuples, lists, numbers and strings (latin1 text for Python 2's).

    Raises FormatError.
    """
    return run_machine(Machine(data))


def run_machine(machine: Machine) -> Any:
    """Return the result of `machine.run()`. Raises FormatError only."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pickletools warns about malformed escapes
            return machine.run()
    except (ValueError, IndexError, KeyError) as error:
        raise FormatError(f"it is damaged ({type(error).__name__})") from error


def read_pickle(data: bytes) -> dict[str, np.ndarray]:
    """Return name -> array, views of `data` if possible, from a pickled dictionary or (name, array) pairs.

    Paddle's table of automatic names, "StructuredToParameterName@@", is left out. Raises FormatError.
    """
    content = unpickle(data)
    if not isinstance(content, dict):
        raise FormatError(f"it holds a {type(content).__name__}, expected a dictionary of arrays")
    arrays = {}
    for name, value in content.items():
        if name == "StructuredToParameterName@@":
            continue
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            value = value[1]
        if isinstance(value, _Array):
            value = value.value
        if not isinstance(value, np.ndarray):
            raise FormatError(f"{name[:80]!r} is a {type(value).__name__}, expected an array")
        arrays[name] = value
    return arrays

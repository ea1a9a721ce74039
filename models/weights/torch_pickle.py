"""The pickles in PyTorch's files: tensors and the places of their numbers, without calling or constructing anything."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.errors import FormatError
from utils.safe_pickle import MAX_DIMENSIONS, Machine, is_size

_BFLOAT16 = "bfloat16"  # NumPy does not have it
# Names of torch's storage classes, without "Storage" at the end -> NumPy type.
_DTYPES = {
    "Double": "<f8", "Float": "<f4", "Half": "<f2", "BFloat16": _BFLOAT16, "Long": "<i8", "Int": "<i4", "Short": "<i2",
    "Char": "|i1", "Byte": "|u1", "Bool": "|b1", "ComplexFloat": "<c8", "ComplexDouble": "<c16", "QInt8": "|i1",
    "QUInt8": "|u1", "QInt32": "<i4",
}  # fmt: skip
_STORAGES = {f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()} | {"torch.storage.UntypedStorage": "|u1"}


@dataclass(frozen=True, slots=True)
class Unknown:
    """A placeholder for an unknown function or class, and for everything that the pickle makes with it."""

    name: str


@dataclass(frozen=True, slots=True)
class _StorageType:
    name: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Storage:
    """A row of numbers stored elsewhere in the file."""

    key: str
    dtype: str
    size: int

    @property
    def stored_dtype(self) -> str:
        return "<u2" if self.dtype == _BFLOAT16 else self.dtype

    @property
    def num_bytes(self) -> int:
        return self.size * np.dtype(self.stored_dtype).itemsize


ReadStorage = Callable[[Storage], bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Tensor:
    """The place of a tensor's numbers in a storage. None of the values has been checked."""

    storage: Storage
    offset: Any
    sizes: Any
    strides: Any

    def read(self, name: str, read_storage: ReadStorage, limit: int) -> np.ndarray:
        """Return the array, as a view if possible. Raises FormatError if the tensor does not lie in its storage."""
        for numbers in (self.sizes, self.strides):
            if not isinstance(numbers, tuple) or len(numbers) > MAX_DIMENSIONS or not all(map(is_size, numbers)):
                raise FormatError(f"{name[:80]!r} has no proper shape and place")
        if len(self.sizes) != len(self.strides) or not is_size(self.offset):
            raise FormatError(f"{name[:80]!r} has no proper shape and place")
        steps = [stride if size > 1 else 0 for size, stride in zip(self.sizes, self.strides)]
        count = math.prod(self.sizes)
        last = self.offset + sum((size - 1) * step for size, step in zip(self.sizes, steps))
        if count and (count > self.storage.size or last >= self.storage.size):
            raise FormatError(f"{name[:80]!r} reaches beyond the numbers that are stored for it")
        if count * np.dtype(self.storage.stored_dtype).itemsize > limit:
            raise FormatError("it uses the same bytes many times")
        if count:
            stored = np.frombuffer(read_storage(self.storage), self.storage.stored_dtype)
            step_bytes = [step * stored.itemsize for step in steps]
            array = np.lib.stride_tricks.as_strided(stored[self.offset :], self.sizes, step_bytes, writeable=False)
        else:
            array = _empty(name, self.sizes, self.storage.stored_dtype)
        return (array.astype("<u4") << 16).view("<f4") if self.storage.dtype == _BFLOAT16 else array


def _empty(name: str, sizes: tuple[int, ...], dtype: str) -> np.ndarray:
    try:
        return np.empty(sizes, dtype)
    except ValueError as error:  # one size is 0, but NumPy cannot multiply the others
        raise FormatError(f"{name[:80]!r} has no proper shape and place") from error


class TorchMachine(Machine):
    """Knows tensors and storages. Everything else, even a NumPy array, becomes an Unknown and ignores all operations.

    Dictionary keys that are not text, such as the optimizer's numbers, are left out.
    """

    def __init__(self, data: bytes, start: int = 0):
        super().__init__(data, start)
        self.storages: dict[str, Storage] = {}

    def find(self, name: str) -> Any:
        if name in _STORAGES:
            return _StorageType(name, _STORAGES[name])
        return _FUNCTIONS.get(name) or Unknown(name)

    def call(self, function: Any, arguments: Any) -> Any:
        if isinstance(function, Unknown | _StorageType):
            return Unknown(function.name)
        return super().call(function, arguments)

    def append_items(self, target: Any, items: list[Any]) -> None:
        if not isinstance(target, Unknown):
            super().append_items(target, items)

    def set_items(self, target: Any, items: list[Any]) -> Any:
        if not isinstance(target, dict | Unknown) or len(items) % 2:
            raise FormatError("it is damaged: no dictionary to add to")
        if isinstance(target, dict):
            target.update((key, value) for key, value in zip(items[::2], items[1::2]) if isinstance(key, str))
        return target

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        match name:
            case "BINPERSID":
                stack.append(self.stored(stack.pop()))
            case "BUILD":  # sets attributes: on the dictionary of weights the version of each layer's format
                stack.pop()
            case "NEWOBJ" | "NEWOBJ_EX":
                if name == "NEWOBJ_EX":
                    stack.pop()
                arguments, function = stack.pop(), stack.pop()
                stack.append(self.call(function, arguments))
            case "INST" | "OBJ" | "FROZENSET":
                self.since_mark()
                stack.append(Unknown(name))
            case "EMPTY_SET":
                stack.append(Unknown("set"))
            case "ADDITEMS" | "POP_MARK":
                self.since_mark()
            case "POP":
                stack.pop()
            case _:
                super().step(name, argument)

    def stored(self, place: Any) -> Storage | Unknown:
        """Return the storage outside the pickle that ("storage", its type, key, device, size[, None]) names."""
        if not isinstance(place, tuple) or len(place) < 5 or any(part is not None for part in place[5:]):
            return Unknown("a place outside of the pickle")
        kind, storage_type, key, _, size = place[:5]
        if kind != "storage" or not isinstance(key, str) or not is_size(size):
            return Unknown("a place outside of the pickle")
        if not isinstance(storage_type, _StorageType):
            return Unknown("a storage")
        return self.storages.setdefault(key, Storage(key, storage_type.dtype, size))


def _new_tensor(*arguments: Any, machine: Machine) -> Tensor | Unknown:
    if len(arguments) < 4 or not isinstance(arguments[0], Storage):
        return Unknown("a tensor")
    return Tensor(*arguments[:4])


def _new_parameter(*arguments: Any, machine: Machine) -> Any:
    return arguments[0] if arguments else Unknown("a parameter")


def _new_dict(*arguments: Any, machine: Machine) -> dict | Unknown:
    """Return {}, or the dictionary of the pairs that Python 2 passes."""
    if not arguments:
        return {}
    pairs = arguments[0]
    if not isinstance(pairs, list) or not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        return Unknown("a dictionary")
    machine.charge(len(pairs))
    return machine.set_items({}, [part for pair in pairs for part in pair])


_FUNCTIONS: dict[str, Callable] = {
    "torch._utils._rebuild_tensor": _new_tensor,
    "torch._utils._rebuild_tensor_v2": _new_tensor,
    "torch._utils._rebuild_parameter": _new_parameter,
    "torch._utils._rebuild_parameter_with_state": _new_parameter,
    "collections.OrderedDict": _new_dict,
}

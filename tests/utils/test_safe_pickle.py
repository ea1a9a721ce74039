"""Test that pickles of weights are read, and that no other pickle runs anything."""

import os
import pickle
import pickletools
import struct
from collections import OrderedDict

import numpy as np
import pytest

from conftest import says
from utils import safe_pickle
from utils.errors import FormatError
from utils.safe_pickle import read_pickle
from weight_formats import python2_pickle

ARRAYS = {
    "a": np.arange(6, dtype="float32").reshape(2, 3),
    "b": np.asfortranarray(np.arange(6, dtype="float64").reshape(2, 3)),
    "c": np.array(7, "int64"),
    "d": np.zeros((0, 4), "float16"),
    "e": np.arange(3, dtype=">f4"),
    "f": np.array([True, False]),
    "name of 300 characters " + "x" * 277: np.ones(300, "uint8"),
}


def same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return list(got) == list(expected) and all(
        got[name].dtype == array.dtype and np.array_equal(got[name], array) for name, array in expected.items()
    )


@pytest.mark.parametrize("protocol", [1, 2, 3, 4])
@pytest.mark.parametrize("wrap", [dict, OrderedDict])
def test_arrays_come_back_as_they_were(protocol, wrap):
    data = pickle.dumps(wrap(ARRAYS), protocol)
    assert same(read_pickle(data), ARRAYS)
    assert same(read_pickle(pickletools.optimize(data)), ARRAYS)
    if protocol < 4:  # without a length before the name
        assert same(read_pickle(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")), ARRAYS)


def test_python_2_wrote_byte_strings():
    arrays = {name: array.astype("<f4") for name, array in ARRAYS.items() if name in "abcd" and array.ndim}
    data = python2_pickle(arrays)
    assert same(read_pickle(data), arrays)
    assert same(pickle.loads(data, encoding="latin1"), arrays)


def test_pairs_scalars_byte_names_and_the_name_table():
    data = pickle.dumps(
        {
            "pair": ("linear_0.w_0", ARRAYS["a"]),
            "scalar": np.float32(2.5),
            b"bytes": ARRAYS["c"],
            "StructuredToParameterName@@": {"pair": "linear_0.w_0"},
        },
        protocol=2,
    )
    assert same(read_pickle(data), {"pair": ARRAYS["a"], "scalar": np.array(2.5, "f4"), "bytes": ARRAYS["c"]})


class Call:
    """An object that pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def hostile(value, protocol=2) -> bytes:
    return pickle.dumps({"conv1_weights": value}, protocol)


CALLS = [
    (Call(os.system, "touch HACKED"), "it calls 'posix.system'"),
    (Call(eval, "open('HACKED', 'w')"), "it calls '__builtin__.eval'"),
    (Call(exec, "open('HACKED', 'w')"), "it calls '__builtin__.exec'"),
    (Call(np.load, "HACKED"), "it calls 'numpy.load'"),
    (Call(np.frombuffer, b"1234"), "it calls 'numpy.frombuffer'"),
    (Call(getattr, np, "load"), "it calls '__builtin__.getattr'"),
]


@pytest.mark.parametrize("call, reason", CALLS)
def test_a_call_is_refused_by_its_name(call, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError) as error:
        read_pickle(hostile(call) if call.call[0] is not getattr else b"\x80\x02c__builtin__\ngetattr\n.")
    says(error.value, f"{reason}, ", "not to be trusted")
    assert not list(tmp_path.iterdir())


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
DTYPE = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"


def state(shape: bytes, dtype: bytes = DTYPE, data: bytes = b"U\x04abcd") -> bytes:
    return b"\x80\x02}U\x01w" + ARRAY + b"(K\x01" + shape + dtype + b"\x89" + data + b"tbs."


NOT_NEEDED = "which plain data does not need; the file is not to be trusted"
NO_NUMBER = "which is no plain number"
V4G = DTYPE.replace(b"U\x02f4", b"U\x0bV4000000000")
BOMBS = [
    (state(b"(\x8a\x05\x00\x00\x00\x00\x01t"), "it declares an array of shape [4294967296] and float32 in 4 bytes"),
    (
        state(b"(" + b"J\xff\xff\xff\x7f" * 8 + b"t"),
        f"it declares an array of shape {[2**31 - 1] * 8} and float32 in 4 bytes",
    ),
    (state(b"(" + b"K\x01" * 9 + b"t"), "it holds an array without a proper shape"),
    (state(b"(J\xff\xff\xff\xfft"), "it holds an array without a proper shape"),
    (state(b"(U\x01at"), "it holds an array without a proper shape"),
    (state(b"(\x88t"), "it holds an array without a proper shape"),
    (state(b"(K\x01t", data=b"K\x01"), "it holds an array that is not made of plain numbers"),
    (state(b"(K\x01t", dtype=b"N"), "it holds an array that is not made of plain numbers"),
    (state(b"(K\x01t", dtype=DTYPE.replace(b"f4", b"O8")), "it holds an array of dtype 'O8', " + NO_NUMBER),
    (state(b"(K\x01t", dtype=V4G), "it holds an array of dtype 'V4000000000', " + NO_NUMBER),
    (state(b"(K\x01t", dtype=DTYPE.replace(b"U\x02f4", b"N")), "it holds an array of dtype a NoneType, " + NO_NUMBER),
    (state(b"(K\x01t", dtype=DTYPE + b"(K\x03U\x01<U\x01aNNtb"), "it holds an array with fields, " + NO_NUMBER),
    (state(b"(K\x01t", dtype=DTYPE + b"Nb"), "it holds an array with fields, " + NO_NUMBER),
    (b"\x80\x02}U\x01w" + ARRAY + b"s.", "'w' is a NoneType, expected an array"),
    (b"\x80\x02}U\x01w" + ARRAY + b"Nbs.", "it holds an array without shape and data"),
    (b"\x80\x02cnumpy\nndarray\n(\x8a\x05\x00\x00\x00\x00\x01tR.", "it calls numpy.ndarray"),
    (b"\x80\x02ccollections\nOrderedDict\n]\x85R.", "it holds an ordered dictionary built from a list"),
    (b"\x80\x02c_codecs\nencode\nU\x01aU\x03hex\x86R.", "it calls _codecs.encode for something else than bytes"),
    (b"\x80\x02}K\x01K\x02s.", "it has a key of type int, expected names"),
    (b"\x80\x02}))s.", "it has a key of type tuple, expected names"),
    (b"\x80\x02}U\x01wK\x01s.", "'w' is a int, expected an array"),
    (b"\x80\x02]K\x01a.", "it holds a list, expected a dictionary of arrays"),
    (b"\x80\x02}}b.", "it sets the attributes of an object"),
    (b"\x80\x02}Psomething\n.", "it uses PERSID, " + NOT_NEEDED),
    (b"\x80\x02(ios\nsystem\n.", "it uses INST, " + NOT_NEEDED),
    (b"\x80\x02\x82\x01.", "it uses EXT1, " + NOT_NEEDED),
    (b"\x80\x02}2.", "it uses DUP, " + NOT_NEEDED),
    (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "it uses NEWOBJ, " + NOT_NEEDED),
    (b"\x80\x02" + b"}" * 10_000 + b".", "it has more than 10000 operations"),
    (b"\x80\x02" + b"(" * 1000 + b"t" * 999 + b".", "it holds a tuple, expected a dictionary of arrays"),
    (b"\x80\x02}s.", "it is damaged (IndexError)"),
    (b"\x80\x02K\x01K\x01K\x01s.", "it is damaged: no dictionary to add to"),
    (b"\x80\x02K\x01K\x01R.", "it is damaged: a call of what is no function"),
    (b"\x80\x02u.", "it is damaged: a mark is missing"),
    (b"\x80\x02}(U\x01wu.", "it is damaged: no dictionary to add to"),
    (b"\x80\x02}K\x01a.", "it is damaged: no list to append to"),
    (b"\x80\x02h\x05.", "it is damaged (KeyError)"),
    (b"\x80\x04K\x01K\x01\x93.", "it is damaged: a name that is no string"),
    (b"\x80\x02T\xff\xff\xff\x7fabc", "it is damaged (ValueError)"),
    (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc", "it is damaged (ValueError)"),
    (b"\x80\x02}", "it is damaged (ValueError)"),
    (b"", "it is damaged (ValueError)"),
    (b"<html>404</html>", "it is damaged (ValueError)"),
]


@pytest.mark.parametrize("data, reason", BOMBS, ids=range(len(BOMBS)))
def test_damage_and_bombs_are_refused(monkeypatch, data, reason):
    monkeypatch.setattr(safe_pickle, "MAX_OPERATIONS", 10_000)
    with pytest.raises(FormatError) as error:
        read_pickle(data)
    assert str(error.value) == reason


def test_the_same_bytes_are_not_copied_again_and_again():
    """A thousand arrays that use the same string of a megabyte would need a gigabyte."""
    text = b"T" + struct.pack("<i", 1 << 20) + bytes(1 << 20) + b"q\x01"
    array = ARRAY + b"(K\x01(J" + struct.pack("<i", 1 << 18) + b"t" + DTYPE + b"\x89h\x01tb"
    entries = b"".join(b"U\x04" + f"{number:04}".encode() + array for number in range(1000))
    with pytest.raises(FormatError) as error:
        read_pickle(b"\x80\x02" + text + b"}(" + entries + b"u.")
    assert str(error.value) == "it uses the same bytes many times"


def test_deep_nesting_neither_recurses_nor_hangs():
    nested = b"\x80\x02}U\x01w" + b"(" * 50_000 + b"t" * 50_000 + b"s."
    with pytest.raises(FormatError, match="'w' is a tuple, expected an array"):
        read_pickle(nested)
    # 2**1000 leaves when hashed or printed
    doubled = b"\x80\x02)q\x01" + b"h\x01h\x01\x86q\x01" * 1000 + b"}h\x01K\x01s."
    with pytest.raises(FormatError, match="it has a key of type tuple"):
        read_pickle(doubled)


def test_random_damage_is_an_error_or_an_array():
    random = np.random.default_rng(0)
    originals = [pickle.dumps(ARRAYS, protocol) for protocol in (0, 2, 4)] + [python2_pickle({"a": ARRAYS["a"]})]
    for _ in range(1500):
        data = bytearray(originals[random.integers(len(originals))])
        for position in random.integers(0, len(data), random.integers(1, 6)):
            data[position] = random.integers(256)
        try:
            read_pickle(bytes(data[: random.integers(len(data) // 2, len(data) + 1)]))
        except FormatError as error:
            assert "\n" not in str(error) and len(str(error)) < 300

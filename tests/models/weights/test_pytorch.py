"""Files of torch.save, in both layouts, read without torch: weights are read, other objects skipped, damage refused."""

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from conftest import says
from models.weights.reading import read_weights
from utils.errors import InputError
from weight_formats import torch_older, torch_pickle, torch_zip

FIXTURES = Path(__file__).parents[2] / "fixtures" / "weights"
LAYOUTS = {"zip": torch_zip, "older": torch_older}
ARRAYS = {
    "conv1.weight": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "bn1.num_batches_tracked": np.array(9, "i8"),
    "fc.bias": np.array([0.5, -1], "f2"),
    "double": np.array([1e300]),
}


def same(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    return list(got) == list(expected) and all(
        got[name].dtype == array.dtype and np.array_equal(got[name], array) for name, array in expected.items()
    )


def read(data: bytes, folder: Path) -> dict[str, np.ndarray]:
    (folder / "w.pth").write_bytes(data)
    return read_weights(folder / "w.pth")


def refusal(data: bytes, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        read(data, folder)
    message = str(error.value)
    start = f"{folder}/w.pth: not a PyTorch file of weights: "
    assert message.startswith(start) and "\n" not in message
    return message.removeprefix(start)


@pytest.mark.parametrize("name", ["torch_2.13", "torch_2.13_older_layout"])
def test_files_that_torch_wrote(name):
    """Files of torch.save 2.13: {meta, state_dict, message_hub, optimizer}, as mmengine's runner saves them.

    The first three tensors share a storage, and one is a parameter. meta and message_hub hold objects of an invented
    module, arrays of objects, functions, sets, and numbers as keys.
    """
    base = np.arange(24, dtype="f4")
    expected = {
        "conv1.weight": base.reshape(2, 3, 4),
        "shared": base[4:10].reshape(2, 3),
        "turned": base.reshape(4, 6).T,
        "half": np.array([0.5, -1, 2], "f2"),
        "brain": np.array([0.5, -1, 3.140625], "f4"),
        "double": np.array(7.0),
        "bn1.num_batches_tracked": np.array(9),
        "empty": np.zeros((0, 3), "f4"),
    }
    assert same(read_weights(FIXTURES / f"{name}.pth"), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("key", ["state_dict", "model", None])
def test_weights_are_found_where_they_are_kept(layout, key, tmp_path):
    others = {"epoch": "3", "optimizer": {"momentum": np.ones(2)}, "model": "a name"} | (
        {"x": np.ones(1)} if key else {}
    )
    content = others | {key: ARRAYS} if key else ARRAYS | {"epoch": "3", "best": b"G" + bytes(8)}
    assert same(read(LAYOUTS[layout](content), tmp_path), ARRAYS)


UNKNOWN = {
    "a class": b"cmmengine.logging\nHistoryBuffer\n",
    "a call": b"cposix\nsystem\n(X\x0c\0\0\0touch HACKEDtR",
    "a call in vain": b"cposix\nsystem\nNR",
    "an object": b"cmmengine.logging\nHistoryBuffer\n)\x81}(K\1K\2ub",
    "an object of an old class": b"(cposix\nsystem\nX\x0c\0\0\0touch HACKEDo",
    "an object of an older class": b"(X\x0c\0\0\0touch HACKEDiposix\nsystem\n",
    "an object with words": b"cos\nsystem\n)}\x92",
    "a dictionary of its own": b"cmmengine\nConfigDict\n)\x81(K\1K\2u",
    "a list of its own": b"cmmengine\nList\n)\x81K\1a(K\2e",
    "a set": b"\x8f(K\1\x90",
    "a fixed set": b"(K\1\x91",
    "keys that are no names": b"}(K\1K\2)K\3]K\4u",
    "something elsewhere": b"(X\x06\0\0\0modulecfoo\nBar\ntQ",
    "an array of objects": pickle.dumps(np.array([None, "x"], object), 2)[2:-1],
    "a type of torch": b"ctorch\nfloat32\n",
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_no_weight_is_passed_over_and_nothing_of_it_runs(layout, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    operations = UNKNOWN[what]
    content = {"meta": operations, "state_dict": ARRAYS | {"extra": operations}, "message_hub": operations}
    assert same(read(LAYOUTS[layout](content), tmp_path), ARRAYS)
    assert os.listdir() == ["w.pth"]


def test_python_2_wrote_its_dictionary_as_pairs(tmp_path):
    one = torch_pickle({"a": np.ones(2, "f4")})[0]
    tensor = one[one.index(b"ctorch._utils") : -2]
    pairs = b"ccollections\nOrderedDict\n(](](U\1a" + tensor + b"eetR"
    assert read(torch_zip({"state_dict": pairs} | {"x": np.ones(2, "f4")}), tmp_path)["a"].tolist() == [1, 1]


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def tensor(sizes: bytes, strides: bytes, stored: int = 6, offset: bytes = b"K\0", kind: bytes = b"Float") -> bytes:
    """Return a zip file with one tensor, "a"."""
    place = b"(X\7\0\0\0storagectorch\n%sStorage\nX\1\0\0\x000X\3\0\0\0cpuJ%stQ" % (kind, struct.pack("<i", stored))
    pickled = b"\x80\2}X\1\0\0\0actorch._utils\n_rebuild_tensor\n(" + place + offset + sizes + strides + b"tRs."
    return zipped({"x/data.pkl": pickled, "x/data/0": np.arange(6, dtype="f4").tobytes()})


def test_tensors_lie_in_their_storage_in_any_order(tmp_path):
    assert read(tensor(b"(K\2K\3t", b"(K\1K\2t"), tmp_path)["a"].tolist() == [[0, 2, 4], [1, 3, 5]]
    assert read(tensor(b"(K\2t", b"(K\2t", offset=b"K\3"), tmp_path)["a"].tolist() == [3, 5]
    assert read(tensor(b"(K\2K\1t", b"(K\1J\xff\xff\xff\x7ft"), tmp_path)["a"].tolist() == [[0], [1]]
    assert read(tensor(b"(t", b"(t", offset=b"K\5"), tmp_path)["a"].tolist() == 5
    assert read(tensor(b"(K\0K\7t", b"(K\7K\1t", offset=b"K\5"), tmp_path)["a"].shape == (0, 7)


BEYOND = ("'a' ", "reaches beyond")
NO_SHAPE = ("'a' ", "no proper shape")
MISPLACED = [
    (tensor(b"(K\7t", b"(K\1t"), BEYOND),
    (tensor(b"(K\2K\3t", b"(K\4K\1t"), BEYOND),
    (tensor(b"(K\3t", b"(K\1t", offset=b"K\4"), BEYOND),
    (tensor(b"(K\7t", b"(K\0t"), BEYOND),  # stride 0 would make an array of any size
    (tensor(b"(\x8a\6\0\0\0\0\0\1t", b"(K\0t"), NO_SHAPE),
    (tensor(b"(J\xff\xff\xff\xfft", b"(K\1t"), NO_SHAPE),
    (tensor(b"(K\2t", b"(J\xff\xff\xff\xfft"), NO_SHAPE),
    (tensor(b"(K\2t", b"(K\1t", offset=b"J\xff\xff\xff\xff"), NO_SHAPE),
    (tensor(b"(K\2t", b"(K\1K\1t"), NO_SHAPE),
    (tensor(b"K\2", b"(K\1t"), NO_SHAPE),
    (tensor(b"(" + b"K\1" * 9 + b"t", b"(" + b"K\1" * 9 + b"t"), NO_SHAPE),
    (tensor(b"(K\0J\xff\xff\xff\x7fJ\xff\xff\xff\x7fJ\xff\xff\xff\x7ft", b"(K\1K\1K\1K\1t"), NO_SHAPE),
    (tensor(b"(K\2t", b"(K\1t", stored=5), ("its storage '0' ", "24 bytes", "expected 20")),
    (tensor(b"(K\2t", b"(K\1t", kind=b"Double"), ("its storage '0' ", "24 bytes", "expected 48")),
]
NO_TENSORS = ("it holds no tensors by name", "'state_dict'", "'model'")
WHOLE = torch_zip({"a": np.ones(2, "f4")})
DATA = np.ones(2, "f4").tobytes()
BIG = ("it was written ", "order of bytes", "big-endian")
NO_MEMBER = ("a zip file", "without PyTorch's data.pkl")
ELSEWHERE = ("its members ", "larger than the file", "compressed")
REFUSED = [
    *MISPLACED,
    (tensor(b"(K\2t", b"(K\1t", kind=b"Strange"), NO_TENSORS),
    (b"PK\x03\x04....", ("a damaged zip file",)),
    (WHOLE[:-1], ("a damaged zip file",)),
    (WHOLE.replace(DATA, DATA[::-1]), ("its member 'archive/data/0'", "damaged")),
    (torch_zip({"a": np.ones(2, "f4")}, b"big"), BIG),
    (torch_older({"a": np.ones(2, "f4")}, little_endian=False), BIG),
    (torch_older({"a": np.ones(2, "f4")})[:-1], ("its storage '0'", "cut off")),
    (torch_older({"a": np.ones(2, "f4")})[:-9], ("its storage '0'", "cut off")),
    (torch_older({"a": np.ones(2, "f4")}).replace(b"]q\0X\1\0\0\x000q\1a", b"]q\0"), ("its storage '0'", "missing")),
    (torch_older({"a": np.ones(2, "f4")})[:40], ("it is damaged", "ValueError")),
    (zipped({"word/document.xml": b""}), NO_MEMBER),
    (zipped({"a/data.pkl": b"", "b/data.pkl": b""}), NO_MEMBER),
    (zipped({"a/data.pkl": b"\x80\2}."}), NO_TENSORS),
    (zipped({"a/data.pkl": torch_pickle({"a": np.ones(2, "f4")})[0]}), ("its member 'a/data/0'", "missing")),
    (zipped({"a/data.pkl": b"\x80\2N."}), ("it holds a 'NoneType'", "expected a dictionary of tensors")),
    (
        zipped({"a/data.pkl": b"\x80\2ctorchvision.models.resnet\nResNet\n)\x81}b."}),
        ("it holds a 'torchvision.models.resnet.ResNet'", "expected a dictionary of tensors"),
    ),
    (zipped({"a/data.pkl": b"\x80\2}" + bytes(900) + b"."}, zipfile.ZIP_DEFLATED), ELSEWHERE),
    (
        zipped({"a/data.pkl": b"\x80\2}."}, zipfile.ZIP_DEFLATED),
        ("its member 'a/data.pkl'", "compressed"),
    ),
    (torch_zip({"state_dict": {"a": b"N"}}), NO_TENSORS),
    (torch_zip({"a": b"R"}), ("it is damaged", "a call of what is no function")),
]  # fmt: skip


@pytest.mark.parametrize("data, pieces", REFUSED)
def test_what_is_damaged_or_hostile_is_refused(data, pieces, tmp_path):
    says(refusal(data, tmp_path), *pieces)


def test_no_cut_goes_unnoticed(tmp_path):
    for make in LAYOUTS.values():
        whole = make({"state_dict": ARRAYS})
        for length in range(20, len(whole), 7):
            assert refusal(whole[:length], tmp_path)


def test_tensors_that_share_their_numbers_are_few(tmp_path):
    """Each is a view, but their users copy each one."""
    one = torch_pickle({"a": np.ones(50_000, "f4")})[0]
    shared = one[one.index(b"ctorch._utils") : -2]

    def file(count: int) -> bytes:
        entries = b"".join(b"X\4\0\0\0%04d" % number + shared for number in range(count))
        return zipped({"x/data.pkl": b"\x80\2}(" + entries + b"u.", "x/data/0": np.ones(50_000, "f4").tobytes()})

    assert len(read(file(4), tmp_path)) == 4
    assert refusal(file(6), tmp_path) == "it uses the same bytes many times"


def test_two_entries_for_one_place_are_refused(tmp_path):
    """A zip bomb's directory gives the bytes of one member many names."""
    data = zipped({f"x/data/{number}": bytes(5000) for number in range(2)} | {"x/data.pkl": b"\x80\2}."})
    start = data.index(b"PK\1\2")
    directory = data[start:].replace(b"x/data/1", b"x/data/0")
    assert refusal(data[:start] + directory, tmp_path) == "it names a member twice"
    larger = bytearray(data)
    larger[start + 20 : start + 28] = struct.pack("<II", 10**6, 10**6)  # its size in the directory
    says(refusal(bytes(larger), tmp_path), *ELSEWHERE)

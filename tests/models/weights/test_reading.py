"""The containers of weights: LoDTensor files, archives, safetensors; how a path is found."""

import io
import json
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from conftest import says
from models.weights.paths import find_weights
from models.weights.reading import read_weights
from utils.errors import InputError
from weight_formats import lod_tensor, write_archive, write_folder

ARRAYS = {
    "conv1_weights": np.arange(24, dtype="f4").reshape(2, 3, 4),
    "fc_0.b_0": np.ones(300, "f4"),
    "@STEP@": np.array([7]),
}
FIXTURES = Path(__file__).parents[2] / "fixtures" / "weights"
UNTRUSTED = "the file is not to be trusted"


def refusal(path) -> str:
    with pytest.raises(InputError) as error:
        read_weights(path)
    message = str(error.value)
    says(message, f"{path}: ")
    return message.removeprefix(f"{path}: ")


def same(got, expected=ARRAYS) -> bool:
    return got.keys() == expected.keys() and all(
        got[name].dtype == array.dtype and np.array_equal(got[name], array) for name, array in expected.items()
    )


# ------------------------------------------------------------------------------------------------ finding


def test_a_path_is_found_with_or_without_its_suffix(tmp_path):
    (tmp_path / "TSN.pdparams").write_bytes(pickle.dumps(ARRAYS, 2))
    (tmp_path / "TSN_epoch1.5.pdparams").write_bytes(pickle.dumps(ARRAYS, 2))
    safetensors.numpy.save_file(ARRAYS, tmp_path / "resnet.safetensors")
    for name in ("TSN", "TSN.pdparams", "TSN_epoch1.5", "resnet"):
        assert same(read_weights(tmp_path / name))
        assert same(read_weights(str(tmp_path / name)))


def test_a_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_folder(tmp_path / "w", ARRAYS)
    assert find_weights("~/w") == tmp_path / "w"


@pytest.mark.parametrize("path", ["nowhere", "/dev/null", "/dev/zero"])
def test_a_missing_file_is_called_missing(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        read_weights(path)
    says(error.value, f"{path}: ", "no such weights", ".pdparams, .safetensors, .tar.gz")


def test_an_unreadable_file_says_why(tmp_path, monkeypatch):
    (tmp_path / "w.pdparams").touch()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("models.weights.reading.is_archive", refuse)
    says(refusal(tmp_path / "w.pdparams"), "cannot be read", "Permission denied")


@pytest.mark.parametrize(
    "data, pieces",
    [
        (b"", ("not a pickle of weights", "damaged", "ValueError")),
        (b"PK\x03\x04....", ("not a PyTorch file of weights", "a damaged zip file")),
        (lod_tensor(ARRAYS["fc_0.b_0"]), ("one binary variable file", "give the folder", "one file per variable")),
        (pickle.dumps({"a": print}), ("not a pickle of weights", "it calls 'builtins.print'", UNTRUSTED)),
    ],
)
def test_another_kind_of_file_is_named(data, pieces, tmp_path):
    (tmp_path / "w.pdparams").write_bytes(data)
    says(refusal(tmp_path / "w.pdparams"), *pieces)


@pytest.mark.parametrize("name", ["fluid_1.8.5", "fluid_1.8.5_folder", "python_2.7"])
def test_files_that_the_old_programs_wrote(name):
    """From fluid.save and fluid.io.save_params of paddlepaddle 1.8.5, and cPickle of Python 2.7 with NumPy 1.16."""
    weight, bias = np.arange(6, dtype="f4").reshape(2, 3), np.array([0.5, -1, 2], "f4")
    assert same(read_weights(FIXTURES / name), {"fc_0.w_0": weight, "fc_0.b_0": bias})


# ------------------------------------------------------------------------------------- one file per variable


def test_a_folder_and_its_archives_give_the_same(tmp_path):
    write_folder(tmp_path / "ResNet50_pretrained", ARRAYS)
    (tmp_path / "ResNet50_pretrained" / "._conv1_weights").write_bytes(b"what macOS puts there")
    (tmp_path / "ResNet50_pretrained" / "fc_1.b_0").write_bytes(lod_tensor(ARRAYS["fc_0.b_0"], packed=True))
    write_archive(tmp_path / "w.tar.gz", tmp_path / "ResNet50_pretrained")
    with tarfile.open(tmp_path / "w.tar", "w") as archive:
        archive.add(tmp_path / "ResNet50_pretrained", ".")
    expected = ARRAYS | {"fc_1.b_0": ARRAYS["fc_0.b_0"]}
    for name in ("ResNet50_pretrained", "w.tar.gz", "w.tar", "w"):
        assert same(read_weights(tmp_path / name), expected), name


GOOD = lod_tensor(np.ones((2, 3), "f4"))


def with_description(description: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<IQIi", 0, 0, 0, len(description)) + description + data


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "it has 0 bytes, less than a header"),
        (GOOD[:19], "it has 19 bytes, less than a header"),
        (GOOD[:-1], "it declares the shape [2, 3], 24 bytes, and has 23"),
        (GOOD + b"\0", "it declares the shape [2, 3], 24 bytes, and has 25"),
        (GOOD[:22], "it does not start like a LoDTensor"),
        (b"\1" + GOOD[1:], "it does not start like a LoDTensor"),
        (GOOD[:4] + b"\1" + GOOD[5:], "it does not start like a LoDTensor"),
        (struct.pack("<IQIi", 0, 0, 0, -1) + b"\x08\x05", "it does not start like a LoDTensor"),
        (struct.pack("<IQIi", 0, 0, 0, 2**31 - 1) + b"\x08\x05", "it does not start like a LoDTensor"),
        (with_description(b"\x08\x05\x10" + b"\xff" * 9 + b"\x01"), "its header declares an impossible shape"),
        (with_description(b"\x08\x05" + b"\x10\x01" * 9), "its header declares an impossible shape"),
        (
            with_description(b"\x08\x05" + b"\x10\x80\x80\x80\x80\x02" * 8),
            f"it declares the shape {[2**29] * 8}, {2**234} bytes, and has 0",
        ),
        (with_description(b"\x08\x05\x10\xff"), "its header is damaged"),
        (with_description(b"\x08\x05\x10" + b"\xff" * 12), "its header is damaged"),
        (with_description(b"\x08\x05\x12\x05\x01"), "its header is damaged"),
        (with_description(b"\x1a\x05\x01"), "its header is damaged"),
        (with_description(b"\x08\x0d\x10\x01", b"\0"), "its data type 13 is no number"),
        (with_description(b"\x10\x01", b"\0\0\0\0"), "its data type -1 is no number"),
    ],
)
def test_a_damaged_variable_is_named(data, reason, tmp_path):
    write_folder(tmp_path / "w", ARRAYS)
    (tmp_path / "w" / "fc_0.w_0").write_bytes(data)
    says(refusal(tmp_path / "w"), "fc_0.w_0 ", reason)


def test_an_empty_folder_holds_no_weights(tmp_path):
    says(refusal(tmp_path), "no weights", "one file per variable")


def add(archive: tarfile.TarFile, name: str, data: bytes = GOOD, **fields) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    archive.addfile(member, io.BytesIO(data))


def test_a_hostile_archive_is_refused_as_weights(tmp_path):
    with tarfile.open(tmp_path / "w.tar.gz", "w:gz") as archive:
        add(archive, "w/conv1_weights")
        add(archive, "../../escaped")
    says(refusal(tmp_path / "w.tar.gz"), "its member '../../escaped' ", "leaves the folder", UNTRUSTED)
    assert [file.name for file in tmp_path.iterdir()] == ["w.tar.gz"]


def test_an_archive_names_each_variable_once(tmp_path):
    with tarfile.open(tmp_path / "w.tar.gz", "w:gz") as archive:
        add(archive, "a/conv1_weights")
        add(archive, "b/conv1_weights")
    assert refusal(tmp_path / "w.tar.gz") == "conv1_weights is there twice"


# ---------------------------------------------------------------------------------------------- safetensors


def tensors(header, data: bytes = bytes(8), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape=(2,), data_offsets=(0, 8)) -> dict:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": data_offsets}}


UNFIT = "its header does not fit its data"
EXPECTED = "expected one of F64, F32, F16, BF16, I64, I32"
# The package would take the last entry, which fits.
TWICE = b'{"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, %s' % json.dumps(entry()).encode()[1:]


def test_safetensors_as_the_package_writes_them(tmp_path):
    arrays = ARRAYS | {"half": np.ones((2, 2), "f2"), "double": np.ones(3, "f8"), "empty": np.ones((0, 3), "f4")}
    safetensors.numpy.save_file(arrays, tmp_path / "w.safetensors", metadata={"format": "np"})
    assert same(read_weights(tmp_path / "w"), arrays)
    header = json.loads((tmp_path / "w.safetensors").read_bytes()[8:].split(b"}}")[0] + b"}}")
    assert list(read_weights(tmp_path / "w")) == [name for name in header if name != "__metadata__"]


def test_a_truncated_safetensors_file_is_refused(tmp_path):
    whole = safetensors.numpy.save(ARRAYS)
    for length in range(0, len(whole), 7):
        (tmp_path / "w.safetensors").write_bytes(whole[:length])
        reason = "its header is damaged" if length < 8 + int.from_bytes(whole[:8], "little") else UNFIT
        says(refusal(tmp_path / "w.safetensors"), "not a safetensors file of weights", reason)


@pytest.mark.parametrize(
    "data, reason",
    [
        (b"", "its header is damaged"),
        (tensors(entry(), length=2**63), "its header is damaged"),
        (tensors(b"{" * 5000), "its header is damaged"),
        (tensors(b"[" * 100_000), "its header is damaged"),
        (tensors([]), "its header is damaged"),
        (tensors(b"\xff\xff"), "its header is damaged"),
        (tensors({"a": 1}), "'a' has no proper shape and place"),
        (tensors(entry(shape=[1] * 8 + [2])), "'a' has no proper shape and place"),
        (tensors(entry(shape=[0, 2**40], data_offsets=[0, 0]), b""), "'a' has no proper shape and place"),
        (tensors(entry(shape=[0, 2**39, 2**39], data_offsets=[0, 0]), b""), "'a' has no proper shape and place"),
        (tensors(entry(dtype=[])), f"'a' is of type 'list', {EXPECTED}"),
        (tensors({"a": {}}), f"'a' is of type 'NoneType', {EXPECTED}"),
        (tensors(entry(dtype="F8_E4M3", shape=[8])), f"'a' is of type 'F8_E4M3', {EXPECTED}"),
        (tensors(entry(dtype="BOOL", shape=[8])), f"'a' is of type 'BOOL', {EXPECTED}"),
        (tensors(entry(dtype="F31")), f"'a' is of type 'F31', {EXPECTED}"),
        (tensors(b'{"a": 1, "a": 2}'), "its header names something twice"),
        (tensors(TWICE), "its header names something twice"),
        (tensors(TWICE, bytes(16)), "its header names something twice"),
        (tensors(b'{"a": {"dtype": "F32", "dtype": "F32"}}'), "its header names something twice"),
        (tensors(entry(shape=[2.0])), UNFIT),
        (tensors(entry(shape=[-2])), UNFIT),
        (tensors(entry(shape=[2**64])), UNFIT),
        (tensors(entry(shape=[2**40, 2**40])), UNFIT),
        (tensors(entry(shape=[2**30])), UNFIT),
        (tensors(entry(data_offsets=[8, 0])), UNFIT),
        (tensors(entry(data_offsets=[0])), UNFIT),
        (tensors({"a": {"dtype": "F32"}}), UNFIT),
        (tensors(entry() | {"__metadata__": {"a": 1}}), UNFIT),
        # fewer bytes than described, and more: in the middle, before, after
        (tensors(entry(), data=bytes(4)), UNFIT),
        (tensors(entry() | {"b": entry(data_offsets=[12, 20])["a"]}, bytes(20)), UNFIT),
        (tensors(entry(data_offsets=[4, 12]), bytes(12)), UNFIT),
        (tensors(entry(), bytes(9)), UNFIT),
        (tensors({}, bytes(1)), UNFIT),
        # one place for two, wholly and in part
        (tensors(entry() | {"b": entry()["a"]}), UNFIT),
        (tensors(entry() | {"b": entry(data_offsets=[4, 12])["a"]}, bytes(12)), UNFIT),
        (tensors(entry(data_offsets=[4, 12])), UNFIT),
    ],
)
def test_damaged_safetensors_are_refused(data, reason, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(data)
    says(refusal(tmp_path / "w.safetensors"), "not a safetensors file of weights", reason)

"""Weights in object storage: copied once, and again when they change, limited in size, named by their remote path."""

import time
from pathlib import Path

import pytest

from conftest import says
from models.weights.paths import find_weights
from models.weights.reading import read_weights
from models.weights.remote import fetch, origin
from utils.errors import InputError
from utils.storage.files import CACHE_VARIABLE


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


def test_a_file_is_copied_once_and_anew_when_it_changes(store, capsys):
    path = store.put("weights/a.pdparams", b"first")
    first = find_weights(path)
    assert first.read_bytes() == b"first" and first.name == "a.pdparams" and origin(first) == path
    assert capsys.readouterr().out.endswith(f"copying {path} to {first.parent}\n")
    assert find_weights(path) == first == find_weights("s3://clips/weights/a") and capsys.readouterr().out == ""
    time.sleep(1)  # S3 gives the time of change in seconds
    store.put("weights/a.pdparams", b"other")
    assert find_weights(path).read_bytes() == b"other"


def test_a_folder(store):
    for name in ("conv1_weights", "conv1_bias", "below/x"):
        store.put(f"weights/folder/{name}", name.encode())
    found = find_weights("s3://clips/weights/folder/")
    assert {path.name: path.read_bytes() for path in found.iterdir()} == {
        "conv1_weights": b"conv1_weights",
        "conv1_bias": b"conv1_bias",
    }
    assert origin(found) == "s3://clips/weights/folder"
    assert origin(found / "conv1_bias") == "s3://clips/weights/folder/conv1_bias"


def test_other_paths_are_their_own_origin(root, monkeypatch):
    for path in ("a/b", "/a", root / "x", root / "x" / "y"):
        assert origin(path) == str(path)
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    assert origin("a/b") == "a/b"


def test_errors_name_the_remote_path(store, monkeypatch):
    path = store.put("weights/broken.pdparams", b"no pickle")
    with pytest.raises(InputError, match=r"^s3://clips/weights/broken.pdparams: not a pickle of weights: "):
        read_weights(path)
    with pytest.raises(InputError, match=f"^{path}: larger than 0 GB"):
        fetch(path, (), 8)
    with pytest.raises(InputError) as error:
        find_weights("s3://clips/weights/none")
    says(error.value, "s3://clips/weights/none: ", "no such weights", ".pdparams, .safetensors, .tar.gz")
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    with pytest.raises(InputError, match=f"^{path}: .* PADDLE_TSN_CACHE is off$"):
        find_weights(path)


def test_a_cache_folder_that_cannot_be_written(store, tmp_path, monkeypatch):
    path = store.put("weights/a.pdparams", b"a")
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(InputError, match=f"^{path}: .* cache folder: Not a directory$"):
        find_weights(path)

"""Test that files are whole or missing, and that a folder is known beforehand to be writable."""

import os
from pathlib import Path

import pytest

from conftest import says
from utils.errors import InputError, RunError
from utils.storage.files import CACHE_VARIABLE, cache_folder, check_save_dir, make_save_dir, write_atomic, write_text


def test_text_is_written_as_it_is(tmp_path):
    write_text(tmp_path / "a.txt", "größe\r\nb\n" + os.fsdecode(b"\xff"))
    assert (tmp_path / "a.txt").read_bytes() == "größe\r\nb\n".encode() + b"\xff"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("x"), KeyboardInterrupt()])
def test_what_stood_there_stays_when_writing_fails(tmp_path, error):
    (tmp_path / "a").write_text("before")

    def write(path: Path):
        path.write_text("half of")
        raise error

    with pytest.raises(RunError if isinstance(error, OSError) else type(error)) as raised:
        write_atomic(tmp_path / "a", write)
    if isinstance(error, OSError):
        says(raised.value, f"{tmp_path / 'a'}: ", "No space left on device")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "before"


def test_what_cannot_be_replaced_is_named(tmp_path):
    (tmp_path / "a" / "full").mkdir(parents=True)
    with pytest.raises(RunError) as error:
        write_text(tmp_path / "a", "x")
    says(error.value, f"{tmp_path}/a: ", "Is a directory")
    with pytest.raises(RunError) as error:
        write_text(tmp_path / "none" / "a", "x")
    says(error.value, f"{tmp_path}/none/a: ", "No such file or directory")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("path", ["here", "new", "new/deep/er", ".", "here/../new", "größe x"])
def test_folders_that_can_be_written(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    check_save_dir(path)
    assert os.listdir(tmp_path) == ["here"] and not os.listdir("here")  # the check leaves nothing
    assert make_save_dir(path).is_dir()


@pytest.mark.parametrize(
    "path, pieces",
    [
        ("file", ("file ", "not a folder")),
        ("file/below", ("file ", "not a folder")),
        ("file/below/deep", ("file ", "not a folder")),
        ("broken", ("broken ", "a link to nowhere")),
        ("broken/below", ("broken ", "a link to nowhere")),
        ("x" * 300, ("", "File name too long")),
        ("/proc/x", ("/proc ", "No such file or directory")),
        ("/dev/null", ("/dev/null ", "not a folder")),
    ],
)
def test_folders_that_cannot_be_written(tmp_path, monkeypatch, path, pieces):
    if path.startswith("/proc") and not os.path.exists("/proc/self"):
        pytest.skip("no /proc")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(InputError) as error:
        check_save_dir(path)
    says(error.value, f"--save_dir={path}: {pieces[0]}", *pieces[1:])
    assert (tmp_path / "file").read_text() == "mine" and sorted(os.listdir(tmp_path)) == ["broken", "file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
@pytest.mark.parametrize("mode", [0o000, 0o555])
def test_permissions(tmp_path, mode):
    folder = tmp_path / "closed"
    folder.mkdir(mode=mode)
    for path in (folder, folder / "below"):
        with pytest.raises(InputError, match="cannot be written: Permission denied"):
            check_save_dir(str(path))


def test_a_folder_that_was_taken_meanwhile(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="cannot be created: File exists"):
        make_save_dir(str(tmp_path / "a"))


@pytest.mark.parametrize(
    "environment, folder",
    [
        ({CACHE_VARIABLE: "/elsewhere", "XDG_CACHE_HOME": "/caches"}, Path("/elsewhere")),
        ({CACHE_VARIABLE: "", "XDG_CACHE_HOME": "/caches"}, Path("/caches/paddle-tsn")),
        ({"XDG_CACHE_HOME": ""}, Path.home() / ".cache" / "paddle-tsn"),
        ({CACHE_VARIABLE: "off"}, None),
    ],
)
def test_where_the_cache_folder_is(monkeypatch, environment, folder):
    for name in (CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert cache_folder() == folder

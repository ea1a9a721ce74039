"""Test that one run at a time writes to a folder: the error of a second run, and that no ended run blocks another."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, says
from utils.errors import InputError, RunError
from utils.storage import lock
from utils.storage.lock import FolderLock, holds_others, locked_folder

pytestmark = pytest.mark.skipif(lock.fcntl is None, reason="there are no locks")


@pytest.fixture(autouse=True)
def hurry(monkeypatch) -> None:
    monkeypatch.setattr(lock, "PATIENCE", 0.2)


def hold(folder: Path) -> subprocess.Popen:
    """Return a process that has the folder locked."""
    program = "import pathlib, sys; from utils.storage.lock import locked_folder\n"
    program += "with locked_folder(pathlib.Path(sys.argv[1]), '--out x'): print('has it', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "has it\n"
    return process


def test_the_line_names_the_folder_and_who_writes_there(tmp_path):
    with hold(tmp_path) as other:
        with pytest.raises(RunError) as error, locked_folder(tmp_path, "--out mine"):
            raise AssertionError("two have it")
        who = f"process {other.pid} on {os.uname().nodename}"
        says(error.value, "--out mine: ", "another run", f"({who})", "wait", "another folder")
        other.stdin.close()
    with locked_folder(tmp_path, "--out mine"):
        assert os.listdir(tmp_path) == [".lock"]
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("said", [b"", b"\xff\n", b"a\0b\n", b"two\nlines\n"])
def test_a_lock_file_need_not_say_who_writes(tmp_path, said):
    with FolderLock(tmp_path, "--out mine"):
        (tmp_path / ".lock").write_bytes(said)
        with pytest.raises(RunError) as error:
            FolderLock(tmp_path, "--out mine")
    known = [" (\ufffd)"] if said == b"\xff\n" else []
    says(error.value, "--out mine: ", "another run", *known, "wait", "another folder")
    assert ("(" in str(error.value)) == bool(known)


def test_a_killed_run_blocks_no_other(tmp_path):
    with hold(tmp_path / "new") as other:
        other.send_signal(signal.SIGKILL)
    assert os.listdir(tmp_path / "new") == [".lock"]
    assert os.stat(tmp_path / "new/.lock").st_mode & 0o777 == 0o666  # so that another user can lock it, too
    with locked_folder(tmp_path / "new", "--out new"):
        pass
    assert os.listdir(tmp_path) == ["new"] and os.listdir(tmp_path / "new") == []


def test_a_run_that_ends_in_time_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 10.0)
    with hold(tmp_path) as other:
        monkeypatch.setattr(lock, "sleep", lambda seconds: other.stdin.close())
        with FolderLock(tmp_path, "--out mine"):
            assert f"process {os.getpid()} on" in (tmp_path / ".lock").read_text()


@pytest.mark.parametrize("content, left", [([], []), (["a"], ["x/y/a"])])
def test_folders_that_stay_empty_go_again(tmp_path, content, left):
    with locked_folder(tmp_path / "x/y", "--out x/y"):
        for name in content:
            (tmp_path / "x/y" / name).touch()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == left
    assert (tmp_path / "x").exists() == bool(left)


def test_a_path_that_cannot_be_a_folder_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    for name, reason in (("file", "File exists"), ("file/x", "Not a directory")):
        with pytest.raises(InputError) as error, locked_folder(tmp_path / name, "--out it"):
            pass
        says(error.value, "--out it: ", reason)
    (tmp_path / ".lock").mkdir()
    with pytest.raises(RunError) as error:
        FolderLock(tmp_path, "--out it")
    says(error.value, f"{tmp_path}/.lock: ", "Is a directory")


def test_the_unfinished_file_of_a_killed_run_is_no_other_runs(tmp_path):
    (tmp_path / ".a.json.12.tmp").touch()
    with FolderLock(tmp_path, "--out mine"):
        assert not holds_others(tmp_path, "a.json")
        for name in (".b.json.12.tmp", "a.json", "x"):
            (tmp_path / name).touch()
            assert holds_others(tmp_path, "a.json")
            (tmp_path / name).unlink()


def test_the_lock_of_another_run_is_not_taken_away(tmp_path):
    """The folder was moved away, and another run has created one of the same name."""
    (tmp_path / "mine").mkdir()
    ours = FolderLock(tmp_path / "mine", "--out mine")
    (tmp_path / "mine").rename(tmp_path / "moved")
    (tmp_path / "mine").mkdir()
    with FolderLock(tmp_path / "mine", "--out mine"):
        ours.release()
        ours.release()
        assert os.listdir(tmp_path / "mine") == [".lock"]


def test_where_there_are_no_locks_the_run_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    def flock(*_) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with FolderLock(tmp_path, "--out mine"):
        pass
    what = "no locks there (No locks available): make sure that no other run writes to this folder"
    assert capsys.readouterr().out == f"{tmp_path}: {what}\n"

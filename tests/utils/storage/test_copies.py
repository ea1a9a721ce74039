"""Test that copies of remote files are complete, and are always removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, wait_until
from utils.storage.copies import on_this_machine, temporary_folder
from utils.storage.objects import StorageError, file_size

pytestmark = pytest.mark.usefixtures("temporary")


@pytest.mark.parametrize("key", ["plain.mp4", "my clips/a b.mp4", "größe.mp4", "a%20b#c.mp4", "what?.mp4", "x" * 300])
def test_a_file_comes_as_it_is_and_its_copy_goes(store, temporary, key):
    path, content = store.put(f"storage/{key}", os.urandom(100)), None
    with on_this_machine(path) as copy:
        content = Path(copy).read_bytes()
        assert Path(copy).suffix == Path(key).suffix and Path(copy).parents[1] == temporary
    assert content == store.get(f"storage/{key}") and file_size(path) == 100
    assert os.listdir(temporary) == []


def test_a_local_file_stays_where_it_is(temporary):
    with on_this_machine("no such/file") as path:
        assert path == "no such/file"


def test_the_copy_goes_after_an_error_too(store, temporary):
    path = store.put("storage/x", b"x")
    with pytest.raises(KeyboardInterrupt), on_this_machine(path):
        raise KeyboardInterrupt
    with pytest.raises(StorageError), on_this_machine("s3://clips/storage/none"):
        pass
    assert os.listdir(temporary) == []


def test_text(store):
    path = store.put("storage/list", b"\xef\xbb\xbfa\r\n\xff\n")
    with on_this_machine(path) as local, open(local, encoding="utf-8-sig", errors="surrogateescape") as file:
        assert file.read() == "a\n\udcff\n"


PROGRAM = """
import sys, time
from utils.storage.copies import on_this_machine
with on_this_machine(sys.argv[1]):
    time.sleep(100)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows locks no folders")
def test_what_a_killed_program_has_left_is_removed_by_the_next(store, temporary):
    path = store.put("copies/a", b"a")

    def looks_old() -> list[str]:
        temporary_folder()
        names = os.listdir(temporary)
        for name in names:
            os.utime(temporary / name, (0, 0))
        return names

    (temporary / "another's").mkdir()
    with subprocess.Popen([sys.executable, "-c", PROGRAM, path], cwd=ROOT) as program:
        wait_until(lambda: list(temporary.glob("*/copy")))
        assert len(looks_old()) == 2 == len(looks_old())  # the program still runs
        program.kill()
    temporary_folder()
    assert os.listdir(temporary) == ["another's"]

"""Test folders kept under a digest: the least recently used are removed first, and other files stay."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from utils.storage.shelf import Shelf, digest


def key(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


def put(shelf: Shelf, word: str, size: int = 100) -> None:
    shelf.make(key(word), lambda folder: (folder / "file").write_bytes(bytes(size)), shelf.place(key(word)).is_dir)


def kept(shelf: Shelf, words: str) -> str:
    return "".join(word for word in words if shelf.place(key(word)).is_dir())


def test_the_longest_unused_are_removed_and_only_they(tmp_path):
    shelf = Shelf(tmp_path / "shelf", most=300)
    shelf.root.mkdir()
    (shelf.root / "notes").mkdir()
    others = [f".{key('dead')}-abc", f".{key('alive')}-abc", f".{key('of a later clock')}-abc"]
    for name, age in zip(others, (7200, 60, -7200)):
        (shelf.root / name).mkdir()
        os.utime(shelf.root / name, (time.time() - age,) * 2)
    for number, word in enumerate("abcd"):
        put(shelf, word)
        os.utime(shelf.place(key(word)), (1000 + number,) * 2)
    assert kept(shelf, "abcd") == "abcd"  # 300 bytes in addition to the last one
    shelf.touch(key("a"))
    put(shelf, "e")
    assert kept(shelf, "abcde") == "acde"
    assert sorted(path.name for path in shelf.root.iterdir() if len(path.name) < 60 or path.name[0] == ".") == sorted(
        [others[1], "notes"]
    )


def test_the_newest_stays_however_large_it_is(tmp_path):
    shelf = Shelf(tmp_path, most=10)
    for word in "ab":
        put(shelf, word, 1000)
    assert kept(shelf, "ab") == "b"


def test_what_another_process_has_made_meanwhile_stays(tmp_path):
    shelf = Shelf(tmp_path, most=1000)

    def fill(folder: Path) -> None:
        put(shelf, "a", 7)
        (folder / "file").write_bytes(bytes(8))

    shelf.make(key("a"), fill, shelf.place(key("a")).is_dir)
    assert (shelf.place(key("a")) / "file").stat().st_size == 7 and len(list(tmp_path.iterdir())) == 1


def test_what_fails_leaves_nothing(tmp_path):
    def fill(folder: Path) -> None:
        (folder / "file").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Shelf(tmp_path, 1000).make(key("a"), fill, lambda: False)
    assert list(tmp_path.iterdir()) == []


def test_digest(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    assert digest(tmp_path / "a") == hashlib.sha256(b"one").hexdigest()
    of_folder = digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest(tmp_path) != of_folder

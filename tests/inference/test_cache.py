"""Kept folders: used when whole, made again when not, never stale, few."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from inference.cache import ENTRIES_KEPT, digest, load_or_make
from utils.files import CACHE_VARIABLE


def key(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


class Work:
    """What is made and loaded, with a count of each."""

    def __init__(self, content: str = "content"):
        self.content, self.made, self.loaded = content, 0, 0

    def make(self, folder: Path) -> None:
        self.made += 1
        (folder / "graph").write_text(self.content)
        (folder / "params").write_text("params")

    def load(self, folder: Path) -> str:
        self.loaded += 1
        return (folder / "graph").read_text()

    def run(self, word: str = "a") -> str:
        return load_or_make(key(word), self.make, self.load)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_made_once_and_loaded_every_time(root):
    work = Work()
    assert [work.run(), work.run(), work.run()] == ["content"] * 3
    assert (work.made, work.loaded) == (1, 3)
    assert sorted(p.name for p in root.iterdir()) == [key("a")]


def test_another_key_is_another_folder(root):
    assert [Work("one").run("a"), Work("two").run("b"), Work("three").run("a")] == ["one", "two", "one"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "graph").write_text("contents"),
        lambda folder: (folder / "graph").write_text("Content"),
        lambda folder: (folder / "params").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "manifest.json").write_bytes(b"\xff"),
    ],
)
def test_a_damaged_folder_is_made_again(root, damage):
    work = Work()
    work.run()
    damage(root / key("a"))
    assert [work.run(), work.run()] == ["content"] * 2
    assert work.made == 2


def test_a_folder_that_cannot_be_loaded_is_made_again(root, capsys):
    work = Work()
    work.run()
    answers = iter([RuntimeError("first line\nno such operator"), "loaded", "loaded"])

    def load(folder: Path) -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert load_or_make(key("a"), work.make, load) == "loaded"
    assert work.made == 2
    assert capsys.readouterr().out == f"{root / key('a')}: made again, as it cannot be used: no such operator\n"
    assert load_or_make(key("a"), work.make, load) == "loaded"
    assert work.made == 2


def test_off_keeps_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(CACHE_VARIABLE, "off")
    work = Work()
    assert [work.run(), work.run()] == ["content"] * 2
    assert work.made == 2 and list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    assert Work().run() == "content"
    assert capsys.readouterr().out.startswith(
        f"{tmp_path / 'file'}: the network cannot be kept for the next run (see {CACHE_VARIABLE}): "
    )


def test_what_fails_while_it_is_made_leaves_nothing(root):
    def make(folder: Path) -> None:
        (folder / "graph").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_make(key("a"), make, Work().load)
    assert list(root.iterdir()) == []


def test_two_processes_at_once(root):
    slow, fast = Work("same"), Work("same")

    def make(folder: Path) -> None:
        slow.make(folder)
        fast.run()  # another process is done first

    assert load_or_make(key("a"), make, slow.load) == "same"
    assert [p.name for p in root.iterdir()] == [key("a")]


def test_the_longest_unused_are_removed_and_only_they(root):
    root.mkdir()
    (root / "notes").mkdir()
    for number, name in enumerate((f".{key('dead')}-abc", f".{key('alive')}-abc")):
        (root / name).mkdir()
        os.utime(root / name, (time.time() - [7200, 60][number],) * 2)
    work = Work()
    for number in range(ENTRIES_KEPT):
        work.run(str(number))
        os.utime(root / key(str(number)), (1000 + number,) * 2)
    work.run("0")  # used: now the newest
    work.run("new")
    kept = {key(word) for word in ("0", *map(str, range(2, ENTRIES_KEPT)), "new")}
    assert {p.name for p in root.iterdir()} == kept | {"notes", f".{key('alive')}-abc"}


def test_digest(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    assert digest(tmp_path / "a") == hashlib.sha256(b"one").hexdigest()
    of_folder = digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest(tmp_path) != of_folder

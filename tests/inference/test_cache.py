"""Kept folders are used if they are whole, and made again if not."""

import hashlib
from pathlib import Path

import pytest

from inference.cache import Files, load_or_make, read_kept
from utils.storage.files import CACHE_VARIABLE


def key(word: str) -> str:
    return hashlib.sha256(word.encode()).hexdigest()


class Work:
    """Files to make and load, with counts of both."""

    def __init__(self, content: str = "content"):
        self.content, self.made, self.loaded = content, 0, 0

    def make(self, folder: Path) -> str:
        self.made += 1
        (folder / "graph").write_text(self.content)
        (folder / "params").write_text("params")
        return self.content

    def load(self, files: Files) -> str:
        self.loaded += 1
        return files["graph"].tobytes().decode()

    def run(self, word: str = "a") -> str:
        return load_or_make(key(word), read_kept(key(word)), self.load, self.make)


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_made_once_and_loaded_every_time(root):
    work = Work()
    assert [work.run(), work.run(), work.run()] == ["content"] * 3
    assert (work.made, work.loaded) == (1, 2)
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

    def load(files: Files) -> str:
        raise RuntimeError("first line\nno such operator")

    assert load_or_make(key("a"), read_kept(key("a")), load, work.make) == "content"
    assert work.made == 2
    assert capsys.readouterr().out == f"{root / key('a')}: made again, as it cannot be used: no such operator\n"
    assert (work.run(), work.made) == ("content", 2)


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
    def make(folder: Path) -> str:
        (folder / "graph").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_make(key("a"), None, Work().load, make)
    assert list(root.iterdir()) == []


def test_two_processes_at_once(root):
    slow, fast = Work("same"), Work("same")

    def make(folder: Path) -> str:
        fast.run()  # another process is faster
        return slow.make(folder)

    assert load_or_make(key("a"), None, slow.load, make) == "same"
    assert [p.name for p in root.iterdir()] == [key("a")]

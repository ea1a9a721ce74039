"""Test file lists: the entries that are read, and the line for each mistake."""

import os
import pickle
import sys
import tracemalloc
from pathlib import Path

import pytest

from conftest import says
from reader.filelist import MAX_LINE, Entry, FileList, read_list
from utils.errors import InputError


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Provide a function that writes bytes to a.list in an empty current folder and reads it, with 4 classes."""
    monkeypatch.chdir(tmp_path)

    def run(content: bytes, **how) -> list[tuple[str, int | None]]:
        (tmp_path / "a.list").write_bytes(content)
        return [(entry.path, entry.label) for entry in read_list("a.list", num_classes=4, **how)]

    return run


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"a.mp4 0\nb.mp4 3\n", [("a.mp4", 0), ("b.mp4", 3)]),
        (b"a.mp4 0\nb.mp4 3", [("a.mp4", 0), ("b.mp4", 3)]),  # the last line has no end
        (b"a.mp4 1\r\nb.mp4 2\r\n", [("a.mp4", 1), ("b.mp4", 2)]),
        (b"\xef\xbb\xbfa.mp4 1\n", [("a.mp4", 1)]),  # a byte order mark, as Windows editors write
        (b"\n\n a.mp4 1 \n   \nb.mp4 2\n\n", [("a.mp4", 1), ("b.mp4", 2)]),
        (b"/my clips/a clip 7.mp4 1\n", [("/my clips/a clip 7.mp4", 1)]),
        (b"a  b.mp4   1\n", [("a  b.mp4", 1)]),
        (b"a.mp4\t2\nb c.mp4\t \t3\n", [("a.mp4", 2), ("b c.mp4", 3)]),
        (b"a.mp4 003\n", [("a.mp4", 3)]),
        ("größe/影片.mp4 1\n".encode(), [("größe/影片.mp4", 1)]),
        (b"a\xff.mp4 1\n", [(os.fsdecode(b"a\xff.mp4"), 1)]),  # not UTF-8: the bytes of the file's name
        (b"a.mp4 0\na.mp4 0\n", [("a.mp4", 0), ("a.mp4", 0)]),
    ],
)
def test_lists(read, content, expected):
    assert read(content) == expected


def test_lines_are_counted_with_the_empty_ones(tmp_path):
    (tmp_path / "a.list").write_text("\na.mp4 0\n\n\nb.mp4 1\n")
    assert read_list(str(tmp_path / "a.list"), num_classes=2) == [Entry("a.mp4", 0, 2), Entry("b.mp4", 1, 5)]


SHAPE, RANGE = "expected 'path label'", ("outside 0..3", "num_classes is 4")


@pytest.mark.parametrize(
    "content, place, pieces",
    [
        (b"", "a.list: ", ["the file list is empty"]),
        (b"\n \n\t\r\n\n", "a.list: ", ["the file list is empty"]),
        (b"a.mp4 0\nb.mp4\n", "a.list:2: ", [SHAPE, "'b.mp4'"]),
        (b"7\n", "a.list:1: ", [SHAPE, "'7'"]),
        (b"a.mp4 0\n\nb\n", "a.list:3: ", [SHAPE, "'b'"]),
        (b"a.mp4 1.5\n", "a.list:1: ", [SHAPE, "'a.mp4 1.5'"]),
        (b"a.mp4 1,\n", "a.list:1: ", [SHAPE, "'a.mp4 1,'"]),
        (b"a.mp4 +1\n", "a.list:1: ", [SHAPE, "'a.mp4 +1'"]),
        (b"a.mp4 -1\n", "a.list:1: ", ["label -1 ", *RANGE]),
        (b"a.mp4 0\na.mp4 4\n", "a.list:2: ", ["label 4 ", *RANGE]),
        (b"a.mp4 123456789012345678\n", "a.list:1: ", ["label 123456789012345678 ", *RANGE]),
        (b"a.mp4 " + b"9" * 19 + b"\n", "a.list:1: ", [SHAPE, f"'a.mp4 {'9' * 19}'"]),
        (b"x" * 100 + b"\n", "a.list:1: ", [SHAPE, f"'{'x' * 77}...'"]),
    ],
)
def test_mistakes(read, content, place, pieces):
    with pytest.raises(InputError) as error:
        read(content)
    says(error.value, place, *pieces)


def test_a_long_path_with_its_label_fits(read):
    path = b"/" + b"d" * 200 + b"/" + b"x" * (MAX_LINE - 300)
    assert read(path + b" 1\n") == [(path.decode(), 1)]


@pytest.mark.parametrize("content", [Path(sys.executable).read_bytes(), pickle.dumps(("v", 1, [b"\xff\xd8"]))])
def test_a_binary_file_is_no_list(tmp_path, content):
    path = tmp_path / "p"
    path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_list(str(path), num_classes=4)
    says(error.value, f"{path}:1: ", "not a line of a file list: '")


def test_missing_and_unreadable(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for name, *pieces in (
        ("nothing", "no such file list"),
        ("folder", "the file list", "Is a directory"),
        ("loop", "the file list", "Too many levels of symbolic links"),
        ("x" * 300, "the file list", "File name too long"),
    ):
        path = str(tmp_path / name)
        with pytest.raises(InputError) as error:
            read_list(path, num_classes=4)
        says(error.value, f"{path}: ", *pieces)


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"a.mp4\nb c.mp4\n", [("a.mp4", None), ("b c.mp4", None)]),
        (b"a.mp4 2\nb c.mp4 3\nd.mp4\n", [("a.mp4", 2), ("b c.mp4", 3), ("d.mp4", None)]),
        (b"holiday 2\nholiday 3\n", [("holiday 2", None), ("holiday", 3)]),  # the first is a file
        (b"holiday 2 1\n", [("holiday 2", 1)]),
        (b"holiday 2019\n", [("holiday 2019", None)]),
        (b"a.mp4 1.5\n", [("a.mp4 1.5", None)]),
        (b"7\n", [("7", None)]),
        (b"x" * 4500 + b" 3\n", [("x" * 4500, 3)]),  # longer than a file name may be
    ],
)
def test_predict_lists_may_leave_labels_out(read, tmp_path, content, expected):
    for name in ("holiday 2", "holiday 2019"):
        (tmp_path / name).touch()
    assert read(content, needs_label=False) == expected


def test_a_label_of_a_predict_list_is_checked(read):
    with pytest.raises(InputError) as error:
        read(b"a.mp4 9\n", needs_label=False)
    says(error.value, "a.list:1: ", "label 9 ", *RANGE)


@pytest.mark.parametrize("needs_label", [True, False])
def test_pkl_lists_hold_paths_alone(read, needs_label):
    content = b"a.pkl\nmy clips/b 7\n\nc.pkl 1\n"
    expected = [("a.pkl", None), ("my clips/b 7", None), ("c.pkl 1", None)]
    assert read(content, frame_format="pkl", needs_label=needs_label) == expected


ENTRIES = [Entry("a b.mp4", 3, 1), Entry("größe/影片.mp4", None, 2), Entry(os.fsdecode(b"a\xff.mp4"), 10**18 - 1, 7)]


def test_a_file_list_is_a_sequence_of_its_entries():
    entries = FileList(ENTRIES)
    assert len(entries) == 3 and list(entries) == ENTRIES and entries[-1] == entries[2] == ENTRIES[2]
    assert entries == ENTRIES and list(ENTRIES) == entries and entries == FileList(ENTRIES)
    for other in (ENTRIES[:2], ENTRIES[::-1], [*ENTRIES[:2], Entry(ENTRIES[2].path, 0, 7)], None):
        assert entries != other
    for part in (slice(1), slice(1, None), slice(None, None, -2), slice(5, 9)):
        assert isinstance(entries[part], FileList) and entries[part] == ENTRIES[part]
    assert not FileList([]) and pickle.loads(pickle.dumps(entries)) == ENTRIES
    with pytest.raises(IndexError):
        entries[3]


@pytest.mark.parametrize(
    "paths, repeated",
    [
        (["a.mp4"], 0),
        (["a.mp4", "b.mp4", "a.mp4", "a.mp4", "b.mp4"], 3),
        (["a.mp4", "./a.mp4", "A.mp4", "a\udcff.mp4"], 0),
    ],
)
def test_entries_that_come_again(paths, repeated):
    assert FileList(Entry(path, number) for number, path in enumerate(paths)).repeated() == repeated


def test_the_digest_is_that_of_paths_and_labels(tmp_path):
    def digest(content: bytes, **how) -> str:
        (tmp_path / "a.list").write_bytes(content)
        return read_list(str(tmp_path / "a.list"), num_classes=20, **how).digest

    same = [b"a.mp4 1\nb.mp4 2\n", b"\xef\xbb\xbf a.mp4\t1\r\n\n b.mp4  02"]
    assert len({digest(content) for content in same}) == 1 and len(digest(same[0])) == 64
    others = [b"b.mp4 2\na.mp4 1\n", b"a.mp4 1\nb.mp4 3\n", b"a.mp4 1\n", b"a.mp4b 1\n.mp4 2\n", b"a.mp4 1\nb.mp4\n"]
    assert len({digest(content, needs_label=False) for content in [same[0], *others]}) == 6


def test_a_list_takes_little_more_than_its_paths(tmp_path):
    number, path = 20_000, "videos/a folder for each class/{:011d}_000010_000020.mp4"
    with open(tmp_path / "a.list", "w") as file:
        file.writelines(f"{path.format(i)} {i % 400}\n" for i in range(number))
    tracemalloc.start()
    try:
        entries = read_list(str(tmp_path / "a.list"), num_classes=400)
        kept, peak = (size / number - len(path.format(0)) for size in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert 24 <= kept <= peak < 60  # bytes of an entry in addition to its path
    assert sum(entry.label for entry in entries) == sum(i % 400 for i in range(number))

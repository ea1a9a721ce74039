"""The videos that a folder or a pattern names."""

import os
import sys
from pathlib import Path

import pytest

from conftest import says
from reader.videos import EXTENSIONS, videos_at
from utils.errors import InputError

FILES = ["b.mp4", "a.MKV", "notes.txt", "raw.h264", "deep/er/c.webm", "deep/d.avi", ".hidden.mp4", "odd[1].mp4"]
ALL = ["a.MKV", "b.mp4", "deep/d.avi", "deep/er/c.webm", "odd[1].mp4"]


@pytest.fixture
def clips(tmp_path):
    for name in FILES:
        path = tmp_path / "my clips" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path / "my clips"


@pytest.mark.parametrize(
    "pattern, found",
    [
        ("", ALL),
        ("deep/", ["deep/d.avi", "deep/er/c.webm"]),
        ("*.mp4", ["b.mp4", "odd[1].mp4"]),
        ("*", ALL),
        ("*.h264", ["raw.h264"]),  # the suffix is written out
        ("**/*.avi", ["deep/d.avi"]),
        ("**", ALL),
        ("d??p", ["deep/d.avi", "deep/er/c.webm"]),
        ("[ab].*", ["a.MKV", "b.mp4"]),
    ],
)
def test_folders_and_patterns(clips, pattern, found):
    entries = videos_at(f"{clips}/{pattern}")
    assert [entry.path for entry in entries] == [f"{clips}/{name}" for name in found]


@pytest.fixture
def deep(tmp_path):
    """Provide a folder with a video below 500 nested folders, and let Python's limit of nested calls be lower."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    folder = str(tmp_path / "deep")
    for _ in range(501):
        os.mkdir(folder)
        folder += "/d"
    Path(folder + ".mp4").write_bytes(b"x")
    yield tmp_path / "deep"
    sys.setrecursionlimit(limit)


def test_any_number_of_folders_in_each_other(deep):
    [entry] = videos_at(str(deep))
    assert entry.path == f"{deep}{500 * '/d'}/d.mp4"
    with pytest.raises(InputError) as error:
        videos_at(f"{deep}/**/*.mp4")
    says(error.value, f"{deep}/**/*.mp4: ", "nested too deep", "the outermost one")


@pytest.mark.parametrize("path", ["b.mp4", "odd[1].mp4", "missing.mp4", "notes.txt"])
def test_one_file_stands_for_itself(clips, path):
    assert videos_at(f"{clips}/{path}") is None


def test_object_storage_has_no_patterns():
    assert videos_at("s3://bucket/clip*.mp4") is None


@pytest.mark.parametrize(
    "path, problem", [("empty", "no video below this folder"), ("*.txt2", "no video matches this pattern")]
)
def test_nothing_found_is_one_line(clips, path, problem):
    (clips / "empty").mkdir()
    with pytest.raises(InputError) as error:
        videos_at(f"{clips}/{path}")
    says(error.value, f"{clips}/{path}: ", problem, ", ".join(EXTENSIONS))


STORAGE = ["@eaDir/b.mp4/SYNOPHOTO_FILM_H264.mp4", ".@__thumb/b.mp4", "#recycle/old.mp4", "__MACOSX/b.mp4"]


@pytest.mark.parametrize("pattern", ["", "*", "**", "**/*.mp4"])
def test_copies_of_network_storage_are_passed_over(tmp_path, pattern):
    for name in ["b.mp4", *STORAGE, *(f"deep/{name}" for name in STORAGE)]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [entry.path for entry in videos_at(f"{tmp_path}/{pattern}")] == [f"{tmp_path}/b.mp4"]
    [kept] = videos_at(f"{tmp_path}/#recycle/*")  # the pattern names the folder
    assert kept.path == f"{tmp_path}/#recycle/old.mp4"

"""Test that the signature of a file or a folder of frames changes with its content."""

import os
from pathlib import Path

import pytest

from utils.storage.stamps import signature


def folder_of(path: Path) -> Path:
    path.mkdir()
    for number in range(1, 31):
        (path / f"img_{number:05}.jpg").write_bytes(b"%5d" % number)
    return path


def over(file: Path, content: bytes, moved: int) -> None:
    """Overwrite a file, which changes neither the time nor the size of its folder; moved: ns added to its time."""
    time = file.stat().st_mtime_ns
    file.write_bytes(content)
    os.utime(file, ns=(time, time + moved))


def test_a_file_and_none(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert signature(str(tmp_path / "a")) == [3, (tmp_path / "a").stat().st_mtime_ns]
    assert [signature(path) for path in (str(tmp_path / "b"), "s3://bucket/a", "a\0b")] == [None] * 3


@pytest.mark.parametrize(
    ("content", "moved"), [(b"other", 1), (b"other", -5_000_000_000), (b"longer", 0)], ids=["later", "earlier", "size"]
)
def test_a_frame_written_over_makes_another_folder(tmp_path, content, moved):
    folder = folder_of(tmp_path / "v")
    before, status = signature(str(folder)), folder.stat()
    over(folder / "img_00020.jpg", content, moved)
    assert (folder.stat().st_mtime_ns, folder.stat().st_size) == (status.st_mtime_ns, status.st_size)
    assert signature(str(folder)) != before


def test_two_frames_that_change_places_make_another_folder(tmp_path):
    folder = folder_of(tmp_path / "v")
    before = signature(str(folder))
    (folder / "img_00001.jpg").rename(folder / "x")
    (folder / "img_00002.jpg").rename(folder / "img_00001.jpg")
    (folder / "x").rename(folder / "img_00002.jpg")
    for name in ("img_00001.jpg", "img_00002.jpg"):
        os.utime(folder / name, ns=(0, 0))
    os.utime(folder, ns=(0, 0))
    assert signature(str(folder)) != before


def test_the_same_folder_stays_the_same_whatever_it_holds(tmp_path):
    folder = folder_of(tmp_path / "v")
    (folder / "img_00031.jpg").symlink_to("nowhere")
    (folder / os.fsdecode(b"\xff.jpg")).touch()
    (folder / "more").mkdir()
    first = signature(str(folder))
    assert signature(str(folder)) == first and all(0 <= number < 2**63 for number in first)
    assert first[1] == max(entry.stat(follow_symlinks=False).st_mtime_ns for entry in os.scandir(folder))


def test_a_link_is_what_it_points_to(tmp_path):
    folder = folder_of(tmp_path / "v")
    (tmp_path / "picture").write_bytes(b"abc")
    (folder / "img_00031.jpg").symlink_to("../picture")
    before = signature(str(folder))
    (tmp_path / "picture").write_bytes(b"abcd")
    assert signature(str(folder)) != before

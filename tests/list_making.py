"""For the tests of data/make_lists.py: folders of small videos, and runs of the script."""

import os
import subprocess
from pathlib import Path

from conftest import run_script
from make_fixtures import FIXTURES

HEADING = "label,youtube_id,time_start,time_end,split"


def touch(folder: Path, *names: str, content: str | None = None) -> None:
    """Make files with this content, or else videos with different bytes."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video_bytes(name) if content is None else content.encode())


def video_bytes(name: str) -> bytes:
    """Return a video that ends with a box that players skip."""
    unused = os.fsencode(name)
    return (FIXTURES / "h264.mp4").read_bytes() + (8 + len(unused)).to_bytes(4) + b"free" + unused


def make_lists(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Return the ended process of data/make_lists.py, run in the folder.

    It does not compare the videos, because those of `touch` all look alike.
    """
    return run_script("data/make_lists", "--out", "lists", "--similar=0", *arguments, cwd=folder)


def annotate(folder: Path, name: str, *lines: str, heading: str = HEADING) -> None:
    (folder / name).write_text("\n".join([heading, *lines]) + "\n")


def lines(folder: Path, name: str) -> list[str]:
    return (folder / "lists" / name).read_text().splitlines()


def succeed(folder: Path, *arguments: str) -> str:
    result = make_lists(folder, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout

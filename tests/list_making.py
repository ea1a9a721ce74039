"""For the tests of data/make_lists.py: trees of small videos, and the script as a real process."""

import os
import subprocess
from pathlib import Path

from conftest import run_script
from make_fixtures import FIXTURES

HEADING = "label,youtube_id,time_start,time_end,split"


def touch(folder: Path, *names: str, content: str | None = None) -> None:
    """Make files: of this content, or videos of which each has other bytes."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(video_bytes(name) if content is None else content.encode())


def video_bytes(name: str) -> bytes:
    """Return a video, with a box behind it that no player looks at."""
    unused = os.fsencode(name)
    return (FIXTURES / "h264.mp4").read_bytes() + (8 + len(unused)).to_bytes(4) + b"free" + unused


def make_lists(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Return the ended process of data/make_lists.py, run in the folder.

    All videos of `touch` look the same, if one looks.
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

"""For the tests of data/make_lists.py: trees of files that only look like videos, and the script as a real process."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADING = "label,youtube_id,time_start,time_end,split"


def touch(folder: Path, *names: str, content: str = "x") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def make_lists(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    script = [sys.executable, str(ROOT / "data" / "make_lists.py"), "--out", "lists", *arguments]
    return subprocess.run(script, cwd=folder, capture_output=True, text=True, timeout=60)


def annotate(folder: Path, name: str, *lines: str, heading: str = HEADING) -> None:
    (folder / name).write_text("\n".join([heading, *lines]) + "\n")


def lines(folder: Path, name: str) -> list[str]:
    return (folder / "lists" / name).read_text().splitlines()


def succeed(folder: Path, *arguments: str) -> str:
    result = make_lists(folder, *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout

"""Run a target on many broken files in a separate process, which may crash or hang, and collect what goes wrong."""

import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Seconds for one file. The readers' own limit for a video is longer; the files here are small.
TIME_LIMIT = 30.0
START_LIMIT = 120.0
CHILD = Path(__file__).with_name("child.py")


# (command without the interpreter, environment, file for stdout, file for stderr) -> the process
Start = Callable[[list[str], dict[str, str], Path, Path], Any]


def start_by_system(command: list[str], environment: dict[str, str], out: Path, errors: Path) -> subprocess.Popen:
    """Start a new Python."""
    with open(out, "wb") as stdout, open(errors, "wb") as stderr:
        streams = {"stdin": subprocess.DEVNULL, "stdout": stdout, "stderr": stderr}
        return subprocess.Popen([sys.executable, *command], env=environment, **streams)


@dataclass
class Finding:
    """A file that broke a promise. `python tests/fuzz TARGET --seed S --only N` makes and reads it again."""

    target: str
    seed: str
    number: int
    complaint: str

    @property
    def kind(self) -> str:
        """The complaint without numbers and names, which differ from file to file."""
        return re.sub(r"\d+|'[^']*'", "_", self.complaint.split(": ", 1)[-1])[-300:]

    def __str__(self) -> str:
        return f"{self.target} --seed {self.seed} --only {self.number}: {self.complaint}"


@dataclass
class Summary:
    """The result of a run: number of files by outcome, errors by file, slowest (s), hungriest (MB), findings."""

    outcomes: Counter = field(default_factory=Counter)
    texts: dict[int, str] = field(default_factory=dict)
    slowest: tuple[float, int] = (0.0, -1)
    hungriest: tuple[int, int] = (0, -1)
    findings: list[Finding] = field(default_factory=list)

    def add(self, report: dict) -> None:
        self.outcomes[report["outcome"]] += 1
        self.texts[report["number"]] = report["text"]
        self.slowest = max(self.slowest, (report["seconds"], report["number"]))
        self.hungriest = max(self.hungriest, (report["memory"], report["number"]))


def run(
    target: str,
    seed: int | str,
    first: int,
    last: int,
    keep: Path | None = None,
    seconds: float = 1e9,
    start: Start = start_by_system,
) -> Summary:
    """Return the summary of the files `first` to `last - 1`, or of as many as `seconds` allow.

    Files that break a promise are copied to `keep`.
    """
    summary, end = Summary(), time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        while first < last and time.monotonic() < end:
            first = _run_process(target, str(seed), first, last, folder, summary, keep, end, start)
    return summary


def _run_process(
    target: str,
    seed: str,
    first: int,
    last: int,
    folder: Path,
    summary: Summary,
    keep: Path | None,
    end: float,
    start: Start,
) -> int:
    """Return the number of the next file after the process has read all files, died or hung."""
    shutil.rmtree(folder / "tmp", ignore_errors=True)
    (folder / "tmp").mkdir()
    number, started = first, False

    def complain(complaint: str) -> None:
        summary.findings.append(Finding(target, seed, number, complaint))

    def give_up(complaint: str) -> int:
        complain(complaint)
        if keep is not None:
            shutil.copytree(folder / "case", keep / f"{target}_{seed}_{number}", dirs_exist_ok=True)
        return number + 1

    command = [str(CHILD), target, seed, str(first), str(last), str(folder), *([str(keep)] if keep else [])]
    with _child(start, command, folder) as (process, lines):
        for line in lines:
            if line is None:
                summary.outcomes["hung"] += 1
                return give_up(f"no end after {TIME_LIMIT:g} s")
            report = json.loads(line)
            number, started = report["number"], "started" in report
            if not started:
                summary.add(report)
                for complaint in report["complaints"]:
                    complain(f"{report['outcome']}: {report['text']}: {complaint}")
                if time.monotonic() > end:
                    return last
        if process.wait() != 0:
            noise = (folder / "stderr").read_text(errors="replace")[-2000:]
            summary.outcomes["died"] += 1
            if not started and number == first:
                raise RuntimeError(f"the fuzzing process failed: {noise}")
            return give_up(f"the process ended with {process.returncode}: {noise}")
    return last


@contextmanager
def _child(start: Start, command: list[str], folder: Path):
    """Open a context with the process and an iterator of its lines; a line is None after too long a silence."""
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "GLOG_minloglevel": "2", "PYTHONDONTWRITEBYTECODE": "1"}
    pipe = folder / "lines"
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    process = start(command, environment, pipe, folder / "stderr")
    try:
        yield process, _lines(reading)
    finally:
        process.kill()
        process.wait()
        os.close(reading)


def _lines(descriptor: int) -> Iterator[bytes | None]:
    buffer, limit = b"", START_LIMIT
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            if not selector.select(limit):
                yield None
                return
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            yield from lines
            limit = TIME_LIMIT

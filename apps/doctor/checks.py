"""Run a check, a command in a process of its own, and make the row that reports it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from apps.doctor.ways import remedy
from utils.processes.device import has_gpu_build

ROOT = Path(__file__).resolve().parents[2]
TIME_LIMIT = 180.0  # seconds; the first start of a GPU takes about twenty
COLUMNS = "{:44}  {:11}  {:>8}  {:>8}  {}"
# train.py says this after its first step.
BEGUN = "Epoch 0, iter 0,"


@dataclass(frozen=True)
class CheckRow:
    """The result of a check: ok, FAILED or not checked."""

    name: str
    result: str
    text: str = ""  # why, and what to do
    images_per_second: float | None = None
    distance: float | None = None  # see apps.doctor.ways.distances
    gigabytes: float | None = None  # the GPU's peak memory; printed in the distance's column

    def __str__(self) -> str:
        speed = "" if self.images_per_second is None else f"{self.images_per_second:.1f}"
        far = "" if self.distance is None else f"{self.distance:.1e}"
        far = far if self.gigabytes is None else f"{self.gigabytes:.1f}"
        return COLUMNS.format(self.name, self.result, speed, far, self.text).rstrip()


def checked(name: str, problem: str, what_to_do: str, **found: object) -> CheckRow:
    """Return the row of a check. problem: "" if there is none; found: more fields of the row."""
    if problem:
        text = f"{problem}. What to do: {remedy(what_to_do, has_gpu_build())}"
        return CheckRow(name, "FAILED", **{**found, "text": text})
    return CheckRow(name, **{"result": "ok", **found})


@dataclass(frozen=True)
class ProgramResult:
    """The exit code and the output of a command."""

    code: int | None  # None: it was killed after TIME_LIMIT
    out: str = ""
    err: str = ""
    left: tuple[int, ...] = ()  # processes that should have ended with it

    @property
    def last_line(self) -> str:
        """Return the last line of its stderr."""
        lines = [line.strip() for line in self.err.splitlines() if line.strip()]
        return lines[-1].removeprefix("error: ")[:300] if lines else ""


def start(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str] | None = None,
    meanwhile: Callable[[int], Sequence[int]] | None = None,
) -> ProgramResult:
    """Run the command and return how it ended. folder: for its output.

    meanwhile: called with the process id once BEGUN is printed; returns processes that must end with it.
    """
    out, err = folder / "out.txt", folder / "err.txt"
    out.write_bytes(b"")  # the previous command's output must not count as this one's
    process = launch(command, {**os.environ, **(environment or {})}, out, err)
    latest, ending = time.monotonic() + TIME_LIMIT, []
    try:
        while (code := process.poll()) is None and time.monotonic() < latest:
            if meanwhile and BEGUN in out.read_text(errors="replace"):
                ending, meanwhile = meanwhile(process.pid), None
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    left = tuple(pid for pid in ending if Path(f"/proc/{pid}").exists())
    return ProgramResult(code, out.read_text(errors="replace"), err.read_text(errors="replace"), left)


def launch(command: Sequence[str], environment: Mapping[str, str], out: Path, err: Path) -> subprocess.Popen:
    """Start a command, in which `python` stands for this interpreter, with its output in two files."""
    words = [sys.executable if word == "python" else word for word in command]
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=stdout, stderr=stderr)

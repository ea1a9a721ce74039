"""Says what this machine has, tries each way in which the toolkit may run on it, and what to do where one fails.

    bash run.sh doctor

Each way is a small network in a process of its own. Its numbers are compared with those of Paddle's own kernels on the
CPU. Exit code 1: something that should work here does not.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file
from doctor.machine import describe, gpu_problem, listed_gpus, missing_packages
from doctor.ways import NO_GPU, REINSTALL, WAYS, Abilities, Outcome, Way, judge
from inference.precision import has_bfloat16
from utils.cli import run
from utils.errors import RunError
from utils.processes.limits import available_cores

ROOT = Path(__file__).resolve().parents[1]
TIME_LIMIT = 180.0  # seconds; a GPU's first start takes some twenty
COLUMNS = "{:44}  {:11}  {:>8}  {:>8}  {}"


@dataclass(frozen=True)
class Row:
    """What became of a check: ok, FAILED or not checked."""

    name: str
    result: str
    text: str = ""  # why, and what to do
    images_per_second: float | None = None
    distance: float | None = None  # see doctor.ways.distance

    def __str__(self) -> str:
        speed = "" if self.images_per_second is None else f"{self.images_per_second:.1f}"
        far = "" if self.distance is None else f"{self.distance:.1e}"
        return COLUMNS.format(self.name, self.result, speed, far, self.text).rstrip()


def checked(name: str, problem: str, remedy: str, **measured: float | None) -> Row:
    """The row of a check that found a problem, or "": none."""
    if problem:
        return Row(name, "FAILED", f"{problem}. What to do: {remedy}", **measured)
    return Row(name, "ok", **measured)


def start(name: str, folder: Path) -> tuple[int | None, str]:
    """(exit code, or None after TIME_LIMIT; the last line of stderr) of a program of doctor/programs.py."""
    command = [sys.executable, str(ROOT / "doctor" / "programs.py"), name, str(folder)]
    try:
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT)
    except subprocess.TimeoutExpired:
        return None, ""
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    return ended.returncode, lines[-1].removeprefix("error: ")[:300] if lines else ""


def check_paddle(folder: Path) -> tuple[Row, dict]:
    """The row of Paddle itself, and what it says of itself, {} where it says nothing."""
    code, last_line = start("paddle", folder)
    problem, _ = judge(WAYS[0], Outcome(code, last_line), None)
    about = {} if problem else json.loads((folder / "paddle.json").read_text())
    return checked("Paddle", problem, REINSTALL), about


def check_ways(abilities: Abilities, folder: Path, ways: Sequence[Way] = WAYS) -> Iterator[Row]:
    """The row of each way, as soon as it has been tried; the folder is the one that `check_paddle` had."""
    numbers: dict[str, dict[str, np.ndarray]] = {}
    for way in ways:
        if reason := abilities.missing(way):
            yield Row(way.name, "not checked", reason)
        elif way.like and way.like not in numbers:
            yield Row(way.name, "not checked", f"there is nothing to compare with, as '{way.like}' failed")
        else:
            outcome = read_outcome(way, folder, *start(way.name, folder))
            problem, far = judge(way, outcome, numbers.get(way.like))
            if not problem:
                numbers[way.name] = dict(outcome.numbers)
            measured = {"images_per_second": outcome.images_per_second, "distance": far}
            yield checked(way.name, problem, way.remedy, **measured)


def read_outcome(way: Way, folder: Path, code: int | None, last_line: str) -> Outcome:
    """What the process of a way has left in the folder."""
    file = folder / f"{WAYS.index(way)}.npz"
    if code != 0:
        return Outcome(code, last_line)
    if not file.exists():
        return Outcome(1, "it ended without numbers")
    with np.load(file) as numbers:
        return Outcome(code, last_line, dict(numbers), json.loads(file.with_suffix(".json").read_text()))


def examine(folder: Path) -> Iterator[Row]:
    """Every row, as soon as it is known; what the machine has is printed before the first."""
    paddle, about = check_paddle(folder)
    print("\n".join(f"{name:10}  {value}" for name, value in describe(about)), end="\n\n")
    print(COLUMNS.format("check", "result", "images/s", "distance", "").rstrip(), flush=True)
    requirements = "requirements-gpu.txt" if about.get("cuda") else "requirements.txt"
    yield checked(f"packages of {requirements}", missing_packages(requirements), f"pip install -r {requirements}")
    yield paddle
    if not about:
        return
    gpus = len(about["gpus"])
    problem, remedy = gpu_problem(about["cuda"], gpus, os.environ.get("CUDA_VISIBLE_DEVICES"), listed_gpus())
    yield checked("GPU", problem, remedy) if gpus or problem else Row("GPU", "not checked", NO_GPU)
    yield from check_ways(Abilities(available_cores(), has_bfloat16(), gpus, about["gpu_bfloat16"]), folder)


def main() -> None:
    parser = argparse.ArgumentParser(
        "bash run.sh doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="paddle-tsn-doctor-") as folder:
        for row in examine(Path(folder)):
            rows.append(row)
            print(row, flush=True)
    counts = Counter(row.result for row in rows)
    print(f"\n{counts['ok']} ok, {counts['FAILED']} failed, {counts['not checked']} not checked")
    if bad := [row.name for row in rows if row.result == "FAILED"]:
        raise RunError(f"{len(bad)} of {len(rows)} checks failed: {'; '.join(bad)}")


if __name__ == "__main__":
    run(main)

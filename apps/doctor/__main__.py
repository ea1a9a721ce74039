"""Show what this machine has, try each way to run the toolkit on it, and say what to do about failures.

    bash run.sh doctor
    bash run.sh doctor --gpu            # measure training on GPUs in ten minutes: a table to send back
    bash run.sh doctor --gpu --dry-run  # print the commands for that, on any machine

Each way runs a small network in a process of its own. Its numbers are compared with those of Paddle's own kernels on
the CPU. Exit code 1: something that should work here does not.
"""

import argparse
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from apps.doctor.checks import COLUMNS, CheckRow, ProgramResult, checked, start
from apps.doctor.gpu import Plan, check_gpus, measured, trained
from apps.doctor.machine import describe, gpu_problem, listed_gpus, package_problem
from apps.doctor.ways import NO_GPU, REINSTALL, WAYS, Abilities, Outcome, Way, judge
from utils.cli import run
from utils.errors import RunError
from utils.processes.device import INSTALL_FOR_GPUS, has_gpu_build
from utils.processes.limits import available_cores
from utils.processor import has_bfloat16
from utils.storage.copies import temporary_root

PROGRAMS = "apps/doctor/programs.py"
LEGEND = """
images/s     the speed of one short run of a small network: compare the rows of one table, not machines
distance     |a - b| / |b| from these numbers a to those of Paddle's own kernels on the CPU, b; ok: rounding explains it

Slow for a reason:
eager        Paddle runs each layer by itself; the other rows are compared with this one
train        a step goes forwards and backwards, which is about three times the work of predict
bfloat16     is fast only on processors with instructions for it, and so is int8
2 processes  share the cores, and exchange their gradients after each step"""


def check_paddle(folder: Path) -> tuple[CheckRow, dict]:
    """Return the row for Paddle itself, and what it reports about itself; {} if it failed."""
    ended = start(("python", PROGRAMS, "paddle", str(folder)), folder)
    problem, _ = judge(WAYS[0], Outcome(ended.code, ended.last_line), None)
    about = {} if problem else json.loads((folder / "paddle.json").read_text())
    return checked("Paddle", problem, REINSTALL), about


def check_ways(abilities: Abilities, folder: Path, ways: Sequence[Way] = WAYS) -> Iterator[CheckRow]:
    """Yield each way's row as soon as it has been tried. folder: as for `check_paddle`."""
    numbers: dict[str, dict[str, np.ndarray]] = {}
    for way in ways:
        if reason := abilities.missing(way):
            yield CheckRow(way.name, "not checked", reason)
        elif way.like and way.like not in numbers:
            yield CheckRow(way.name, "not checked", f"'{way.like}' failed, so there is nothing to compare with")
        else:
            outcome = read_outcome(way, folder, start(("python", PROGRAMS, way.name, str(folder)), folder))
            problem, far = judge(way, outcome, numbers.get(way.like))
            if not problem:
                numbers[way.name] = dict(outcome.numbers)
            measured = {"images_per_second": outcome.images_per_second, "distance": far}
            yield checked(way.name, problem, way.remedy, **measured)


def read_outcome(way: Way, folder: Path, ended: ProgramResult) -> Outcome:
    """Return what the process of a way left in the folder."""
    file = folder / f"{WAYS.index(way)}.npz"
    if ended.code != 0:
        return Outcome(ended.code, ended.last_line)
    if not file.exists():
        return Outcome(1, "it ended without writing its numbers")
    with np.load(file) as numbers:
        return Outcome(0, "", dict(numbers), json.loads(file.with_suffix(".json").read_text()))


def examine(folder: Path, on_gpus: bool = False) -> Iterator[CheckRow]:
    """Yield every row as soon as it is known, after printing what the machine has.

    on_gpus: run the trials of apps/doctor/gpu.py instead of the ways. Raises RunError if there is no GPU for them.
    """
    paddle, about = check_paddle(folder)
    gpus, problem, remedy = len(about.get("gpus", ())), "", ""
    if about:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        problem, remedy = gpu_problem(about["cuda"], gpus, visible, listed_gpus())
    if on_gpus and about and not gpus:
        why = f"{problem}. What to do: {remedy}" if problem else "there is none here, or CUDA_VISIBLE_DEVICES hides it"
        raise RunError(f"--gpu needs a GPU that Paddle sees: {why}; --gpu --dry-run prints the commands without one")
    print("\n".join(f"{name:10}  {value}" for name, value in describe(about)), end="\n\n")
    print(COLUMNS.format("check", "result", "images/s", "GB" if on_gpus else "distance", "").rstrip(), flush=True)
    requirements, install = "requirements.txt", "pip install -r requirements.txt"
    if has_gpu_build():
        requirements, install = "requirements-gpu.txt", INSTALL_FOR_GPUS
    yield checked(f"packages of {requirements}", package_problem(requirements), install)
    yield paddle
    if not about:
        return
    yield checked("GPU", problem, remedy) if gpus or problem else CheckRow("GPU", "not checked", NO_GPU)
    nncf = find_spec("nncf") is not None
    of_gpu = gpus, about["gpu_bfloat16"], about["gpu_float16"]
    abilities = Abilities(available_cores(), has_bfloat16(), nncf, *of_gpu)
    if not on_gpus:
        yield from check_ways(abilities, folder)
        return
    dtype = "bfloat16" if abilities.gpu_bfloat16 else "float16"
    yield from check_gpus(abilities, Plan(folder, gpus, ("TRAIN.amp=O2", f"TRAIN.amp_dtype={dtype}")))


def main() -> None:
    parser = argparse.ArgumentParser(
        "bash run.sh doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", action="store_true", help="measure training on the GPUs instead")
    parser.add_argument("--dry-run", action="store_true", help="with --gpu: only print the commands, as for two GPUs")
    args = parser.parse_args()
    if args.dry_run and not args.gpu:
        parser.error("--dry-run is for --gpu")
    if args.dry_run:
        plan = Plan(Path("FOLDER"), devices=2)
        print("\n".join(map(str, [*measured(plan), *trained(plan, ("TRAIN.amp=auto",), None)])))
        return
    rows = []
    with tempfile.TemporaryDirectory(prefix="paddle-tsn-doctor-", dir=temporary_root()) as folder:
        for row in examine(Path(folder), args.gpu):
            rows.append(row)
            print(row, flush=True)
    counts = Counter(row.result for row in rows)
    print(f"\n{counts['ok']} ok, {counts['FAILED']} failed, {counts['not checked']} not checked")
    if not args.gpu:
        print(LEGEND)
    if bad := [row.name for row in rows if row.result == "FAILED"]:
        raise RunError(f"{len(bad)} of {len(rows)} checks failed: {'; '.join(bad)}")


if __name__ == "__main__":
    run(main)

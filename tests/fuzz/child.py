"""The process that reads broken files, one after the other, and reports on each in a line of JSON; see harness.py."""

import json
import os
import random
import resource
import shutil
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from fuzz.target import Target, one_line
from fuzz.targets import make_target

MB = 1 << 20


def memory(kind: str) -> int:
    """Return a figure of proc(5) in bytes: VmHWM, the largest resident memory since `forget_peak`, or VmData."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{kind}:")[1].split()[0]) * 1024


def forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def open_files() -> list[str]:
    """Return the names of the files that this process has open."""
    names = []
    for descriptor in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            names.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except FileNotFoundError:  # the listing's own
            continue
    return names


def read_one(target: Target, path: Path, rng: random.Random, folder: Path, baseline: int) -> dict:
    """Return the report on one file: outcome, text, seconds, memory in MB and complaints."""
    files, noise, before = open_files(), os.fstat(2).st_size, set(os.listdir(folder))
    forget_peak()
    start, outcome, text, complaints = time.monotonic(), "ok", "", []
    try:
        target.read(path, rng)
    except target.errors as error:
        outcome, text = "refused", str(error)
        if wrong := one_line(error):
            complaints.append(wrong)
    except BaseException as error:
        outcome, text = "raised", f"{type(error).__name__}: {error}"[:500]
        complaints.append(traceback.format_exc(limit=-4, chain=False)[-3000:])
    seconds, taken = time.monotonic() - start, (memory("VmHWM") - baseline) // MB
    if taken > target.memory:
        complaints.append(f"{taken} MB of memory, {target.memory} allowed")
    if open_files() != files:
        complaints.append(f"open files: {files} before, {open_files()} after")
    sys.stderr.flush()
    if target.quiet and os.fstat(2).st_size != noise:
        complaints.append("something was written to stderr")
    if left := set(os.listdir(folder)) - before:
        complaints.append(f"files left behind: {sorted(left)}")
    report = {"outcome": outcome, "text": text[:300], "seconds": round(seconds, 3)}
    return {**report, "memory": taken, "complaints": complaints}


def empty(folder: Path) -> None:
    """Remove what is in the folder. The folder itself stays: making a new one for each file takes a millisecond."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry)
        else:
            os.unlink(entry)


def run(target: Target, name: str, seed: str, first: str, last: str, folder: str, keep: str | None = None) -> None:
    """Read the files `first` to `last - 1` in `folder`, a line of JSON before and after each; see harness.py."""
    case, temporary = Path(folder, "case"), Path(folder, "tmp")
    # Above the target's bound, so that a breach is reported; but no file may take all memory of the machine.
    limit = memory("VmData") + (2 * target.memory + 500) * MB
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    baseline = 0
    case.mkdir(exist_ok=True)
    for number in range(int(first), int(last)):
        rng = random.Random(f"{name}/{seed}/{number}")
        empty(case)
        path = target.write(case, rng, number)
        print(json.dumps({"number": number, "started": str(path)}), flush=True)
        if not baseline:  # the first reading also loads what is loaded only once
            read_one(target, path, random.Random(0), temporary, 0)
            forget_peak()
            baseline = memory("VmHWM")
        report = read_one(target, path, rng, temporary, baseline)
        if report["complaints"] and keep is not None:
            shutil.copytree(case, Path(keep, f"{name}_{seed}_{number}"), dirs_exist_ok=True)
        print(json.dumps({"number": number, **report}), flush=True)


if __name__ == "__main__":
    run(make_target(sys.argv[1]), *sys.argv[1:])

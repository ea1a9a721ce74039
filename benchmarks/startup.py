"""Measure how long a user waits for the first result: `python benchmarks/startup.py`.

From the shell to the end of a process, with files in the disk cache, on all cores; ways in turns, one 340x256 clip of
10 s, ResNet-50, 7 segments: wall clock, and processor time, which other processes affect less. Takes 2 minutes.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways
from utils.cli import run

IMPORT, ORIGINAL = "import paddle", "the original's way, one video"
CACHE = common.RESULTS / "startup_cache"


def commands(video: str) -> dict[str, list[str]]:
    """Return name -> arguments of python."""
    sets = [flag for setting in ways.SETTINGS for flag in ("--set", setting)]
    flags = [f"--weights={ways.WEIGHTS}", f"--video_path={video}", f"--save_dir={common.RESULTS / 'predicted'}", *sets]
    found = {
        IMPORT: ["-c", "import paddle"],
        **{f"{script}.py --help": [f"{script}.py", "--help"] for script in ("train", "eval", "predict", "export")},
        ORIGINAL: ["benchmarks/ways.py", ways.ORIGINAL, video],
    }
    if "mmaction2" in ways.available_ways():
        found["mmaction2, one video"] = ["benchmarks/ways.py", "mmaction2", video]
    for name, precision in ((ways.FLOAT32, "float32"), (ways.BFLOAT16, "bfloat16"), (ways.INT8, "int8")):
        if name not in ways.available_ways():
            continue
        settings = [flag for setting in ways.precision_settings(precision) for flag in ("--set", setting)]
        predict = ["predict.py", *flags, *settings]
        found[f"predict.py, {precision}, one video"] = predict
        if precision != "int8":  # making its graph takes as long as its calibration videos
            found[f"predict.py, {precision}, one video, nothing cached"] = predict
    return found


def prepare(name: str, arguments: list[str], processor: list[float]):
    """Return the function to time, after removing the cached graphs if the measurement includes making them.

    processor: receives the processor seconds of each run.
    """
    cold = name.endswith("nothing cached")
    if cold:
        shutil.rmtree(CACHE / "cold", ignore_errors=True)
    environment = os.environ | {"PADDLE_TSN_CACHE": str(CACHE / ("cold" if cold else "warm"))}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def run_command() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], cwd=ways.ROOT, env=environment, check=True, **quiet)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)

    return run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each command (default: 5)")
    repeats = parser.parse_args().repeats
    machine = common.describe_machine()
    common.print_machine(machine)
    ways.make_weights()
    [video] = common.make_clips(common.ClipKind("340x256 default", 340, 256), 1)
    # Default arguments bind each name now; a closure would see the last one.
    processor: dict[str, list[float]] = {name: [] for name in commands(video)}
    runs = {name: (lambda name=name, a=a: prepare(name, a, processor[name])) for name, a in commands(video).items()}
    wall = common.measure(runs, repeats)
    cpu = {name: common.Times(seconds[1:]) for name, seconds in processor.items()}  # the first round warms up
    rows = []
    for name in wall:
        row = [name]
        for times in (wall, cpu):
            t, base = times[name], times[ORIGINAL].median
            row += [
                f"{t.median:.2f} ±{100 * t.spread:.0f}%",
                f"{t.median / times[IMPORT].median:.2f}",
                f"{t.median / base:.2f}",
            ]
        rows.append(row)
    ratios = ["to import paddle", "to the original's way"]
    common.print_table(["command", "wall clock, s", *ratios, "processor, s", *ratios], rows)
    seconds = {name: {"wall": wall[name].seconds, "processor": cpu[name].seconds} for name in wall}
    content = {"machine": machine, "seconds": seconds}
    print(f"\nwritten to {common.write_results('startup', content)}")


if __name__ == "__main__":
    run(main)

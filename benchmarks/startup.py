"""How long a user waits before the first result: `python benchmarks/startup.py`.

Wall clock from the shell to the end of a process, with files in the disk cache, on all cores; ways in turns, one
340x256 clip of 10 s, ResNet-50, 7 segments. Needs an idle machine; takes 2 minutes.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways  # noqa: E402
from utils.cli import run  # noqa: E402

IMPORT, ORIGINAL = "import paddle", "the original's way, one video"
CACHE = common.RESULTS / "startup_cache"


def commands(video: str) -> dict[str, list[str]]:
    """Name -> arguments of python."""
    sets = [flag for setting in ways.SETTINGS for flag in ("--set", setting)]
    flags = [f"--weights={ways.WEIGHTS}", f"--video_path={video}", f"--save_dir={common.RESULTS / 'predicted'}", *sets]
    found = {
        IMPORT: ["-c", "import paddle"],
        **{f"{script}.py --help": [f"{script}.py", "--help"] for script in ("train", "eval", "predict", "export")},
        ORIGINAL: ["benchmarks/ways.py", ways.ORIGINAL, video],
    }
    if "mmaction2" in ways.available_ways():
        found["mmaction2, one video"] = ["benchmarks/ways.py", "mmaction2", video]
    for precision in ("float32", "bfloat16") if ways.FLOAT32 in ways.available_ways() else ():
        if precision == "bfloat16" and ways.BFLOAT16 not in ways.available_ways():
            continue
        predict = ["predict.py", f"--precision={precision}", *flags]
        found[f"predict.py, {precision}, one video"] = predict
        found[f"predict.py, {precision}, one video, nothing cached"] = predict
    return found


def prepare(name: str, arguments: list[str]):
    """What is timed, after the cached graphs have been removed where that belongs to the measurement."""
    cold = name.endswith("nothing cached")
    if cold:
        shutil.rmtree(CACHE / "cold", ignore_errors=True)
    environment = os.environ | {"PADDLE_TSN_CACHE": str(CACHE / ("cold" if cold else "warm"))}
    return lambda: subprocess.run(
        [sys.executable, *arguments], cwd=ways.ROOT, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each command (default: 5)")
    repeats = parser.parse_args().repeats
    machine = common.describe_machine()
    common.print_machine(machine)
    ways.make_weights()
    [video] = common.make_clips(common.ClipKind("340x256 default", 340, 256), 1)
    # Default arguments bind each name now: a closure would see the last one.
    runs = {name: (lambda name=name, a=arguments: prepare(name, a)) for name, arguments in commands(video).items()}
    times = common.measure(runs, repeats)
    rows = [
        [name, f"{t.median:.2f}", f"±{100 * t.spread:.0f}%", f"{t.median / times[IMPORT].median:.2f}", f"{t.median / times[ORIGINAL].median:.2f}"]
        for name, t in times.items()
    ]
    common.print_table(["command", "s", "spread", "to import paddle", "to the original's way"], rows)
    content = {"machine": machine, "seconds": {name: t.seconds for name, t in times.items()}}
    print(f"\nwritten to {common.write_results('startup', content)}")


if __name__ == "__main__":
    run(main)

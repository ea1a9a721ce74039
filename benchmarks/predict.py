"""Measure how fast a video file becomes its five likeliest classes: `python benchmarks/predict.py`.

ResNet-50, 400 classes, random weights, 7 segments, 340x256 H.264 clips of 10 s with x264's default key frames; one
video at a time, one core, one thread, with everything loaded before. Each way has its own process. They are measured in
turns, in processor time, which other processes hardly affect. Takes 3 minutes. mmaction2 takes part after

    pip install torch mmengine "mmcv-lite<2.2" mmaction2 decord importlib_metadata "setuptools<81"

With --against=FOLDER, a checkout of this repository at an older commit, our ways also run in its code, in the same
turns. With --lists, predict.py is then timed over whole lists on all cores, and compared with the rate that the
processor times above allow; that needs an idle machine and 5 more minutes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways
from utils.cli import run
from utils.errors import RunError
from utils.processes.limits import available_cores
from utils.storage.files import write_text

STAGES = ("decode", "crop", "network")


@dataclass(frozen=True)
class Measured:
    """A row of the table: a way, and the checkout with its code."""

    name: str
    way: str
    folder: Path = ways.ROOT


class WayProcess:
    """A process that runs benchmarks/way_process.py."""

    def __init__(self, measured: Measured):
        arguments = [str(measured.folder), str(ways.WEIGHTS), measured.way]
        command = [sys.executable, str(ways.ROOT / "benchmarks" / "way_process.py"), *arguments]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ways.ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe)
        self._answer()

    def seconds(self, path: str) -> list[float]:
        """Return the processor seconds of each stage for a video."""
        return self._ask(path)

    def end(self) -> float:
        """End the process, and return its peak memory in MB."""
        peak = self._ask("")
        self._process.communicate()
        return peak

    def _ask(self, path: str):
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        if not (line := self._process.stdout.readline()):
            raise RunError(f"{self._process.args[-1]}: {self._process.communicate()[1].strip()}")
        return json.loads(line)


def measure(wanted: list[Measured], paths: list[str], repeats: int) -> dict[str, dict]:
    """Return for each its processor seconds per video, in all and by stage, as medians over repeats, and its memory.

    The memory is measured with a kept graph, so each of our ways is started once before.
    """
    for measured in wanted:
        if measured.way.startswith("ours"):
            WayProcess(measured).end()
    processes = {measured.name: WayProcess(measured) for measured in wanted}
    rounds: dict[str, list[list[float]]] = {name: [] for name in processes}  # [repeat][stage], a mean over the clips
    for repeat in range(-1, repeats):  # the first round warms up
        for name, process in processes.items():
            clips = [process.seconds(path) for path in paths]
            if repeat >= 0:
                rounds[name].append([sum(stage) / len(paths) for stage in zip(*clips)])
    results = {}
    for name, process in processes.items():
        stages = {stage: common.Times(list(seconds)).median for stage, seconds in zip(STAGES, zip(*rounds[name]))}
        total = common.Times([sum(seconds) for seconds in rounds[name]])
        results[name] = {"seconds": total.median, "spread": total.spread, **stages, "peak_mb": process.end()}
    return results


def older_ways(names: list[str], folder: Path) -> list[Measured]:
    """Return our ways that also exist in an older checkout of this repository, to run in its code."""
    command = [sys.executable, "-c", "from benchmarks import ways; print(*ways.available_ways(), sep='\\n')"]
    known = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()
    ours = [name for name in names if name.startswith("ours") and name in known]
    return [Measured(f"{name}, {folder.name}", name, folder) for name in ours]


def show_networks(results: dict[str, dict], older: list[Measured]) -> None:
    """Print the network's own time in the older code and in this one."""
    for measured in older:
        before, now = (1000 * results[name]["network"] for name in (measured.name, measured.way))
        print(f"{measured.way}: the network takes {before:.1f} ms in {measured.folder.name}, {now:.1f} here: ", end="")
        print(f"{before / now:.2f}x", flush=True)


def show(results: dict[str, dict]) -> None:
    base = results[ways.ORIGINAL]
    rows = []
    for name, r in results.items():
        stages = [f"{1000 * r[stage]:.1f}" for stage in STAGES]
        ratios = [f"{base['seconds'] / r['seconds']:.2f}x", f"{base['network'] / r['network']:.2f}x"]
        rate = f"{1 / r['seconds']:.2f} ±{100 * r['spread']:.0f}%"
        rows.append([name, rate, ratios[0], *stages, ratios[1], f"{r['peak_mb']:.0f}"])
    columns = ["way", "videos/s", "ratio", "decode, ms", "crop, ms", "network, ms", "network's ratio", "peak MB"]
    common.print_table(columns, rows)


def measure_lists(results: dict[str, dict], paths: list[str], repeats: int) -> list[dict]:
    """Return predict.py's steady rate on all cores, and its share of the rate that the parts' processor times allow."""
    lists = []
    for name, precision in ((ways.FLOAT32, "float32"), (ways.BFLOAT16, "bfloat16"), (ways.INT8, "int8")):
        if name not in results:
            continue
        few, many = (64, 128) if precision == "float32" else (64, 224)  # all cores work on both
        rates = []
        for _ in range(repeats):
            seconds = time_predict(precision, paths, many) - time_predict(precision, paths, few)
            rates.append((many - few) / seconds)
        allowed = available_cores() / results[name]["seconds"]
        rate = common.Times(rates)
        speed = f"{rate.median:.2f} videos/s ±{100 * rate.spread:.0f}%"
        share = f"{100 * rate.median / allowed:.0f}% of the {allowed:.2f} that the processor times allow"
        print(f"predict.py, {precision}, {available_cores()} cores: {speed}, {share}", flush=True)
        lists.append({"precision": precision, "rate": rate.median, "spread": rate.spread, "allowed": allowed})
    return lists


def time_predict(precision: str, paths: list[str], number: int) -> float:
    """Return the seconds of one run of predict.py over a list of `number` videos."""
    filelist = common.RESULTS / "predict.list"
    write_text(filelist, "".join(f"{paths[i % len(paths)]}\n" for i in range(number)))
    flags = [f"--filelist={filelist}", f"--weights={ways.WEIGHTS}"]
    flags += [f"--save_dir={common.RESULTS / 'predicted'}", "--log_interval=1000000"]
    settings = ways.precision_settings(precision)
    sets = [flag for setting in (*ways.SETTINGS, *settings) for flag in ("--set", setting)]
    command = [sys.executable, "predict.py", *flags, *sets]
    start = time.perf_counter()
    subprocess.run(command, cwd=ways.ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4, help="clips (default: 4)")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each way (default: 7)")
    parser.add_argument("--lists", action="store_true", help="also time predict.py over lists, on all cores")
    parser.add_argument("--against", type=Path, help="a checkout at an older commit: its code is measured besides")
    args = parser.parse_args()
    os.environ.setdefault("PADDLE_TSN_CACHE", str(common.RESULTS / "cache"))
    os.environ["PYTHONWARNINGS"] = "ignore:No ccache found"  # for each of the ways' processes
    machine = common.describe_machine()
    common.print_machine(machine)
    paths = common.make_clips(common.ClipKind("340x256 default", 340, 256), args.clips)
    ways.make_weights()
    names = ways.available_ways()
    older = older_ways(names, args.against.resolve()) if args.against else []
    results = measure([*(Measured(name, name) for name in names), *older], paths, args.repeats)
    show(results)
    show_networks(results, older)
    lists = measure_lists(results, paths, 3) if args.lists else []
    content = {"machine": machine, "threads": 1, "clock": "process time", "results": results, "lists": lists}
    print(f"\nwritten to {common.write_results('predict', content)}")


if __name__ == "__main__":
    run(main)

"""Measure what Ray costs on one machine, predict.py with and without --ray=local: `python benchmarks/cluster.py`.

The clips are the demo's, repeated, and the network is the demo's with random weights. It computes almost nothing, so
everything else is measured. Each way is timed over a few clips, for its start, and over `--videos`; the rate is that of
the clips in between. Needs `python data/make_demo.py` and requirements-cluster.txt. Takes 5 minutes.
"""

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common
from utils.cli import run
from utils.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
FOLDER = common.RESULTS / "cluster"
CONFIG, CLIPS = ROOT / "configs" / "tsn_demo.yaml", ROOT / "data" / "demo" / "train.list"
WAYS = {"predict.py": [], "predict.py --ray=local": ["--ray=local"]}
FEW = 400  # enough for a stream per core


def write_weights(path: Path, config: Path = CONFIG, *settings: str) -> None:
    """Write random weights for the network of a configuration."""
    import paddle

    from models import build_model
    from utils.config.loading import load_config

    paddle.seed(0)
    paddle.save(build_model(load_config(str(config), {}, settings).model).state_dict(), str(path))


def write_list(number: int) -> Path:
    """Return the path of a list of the demo's clips, repeated."""
    if not CLIPS.exists():
        raise InputError(f"{CLIPS}: no such file: run python data/make_demo.py first")
    path = FOLDER / f"{number}.list"
    lines = itertools.islice(itertools.cycle(CLIPS.read_text().splitlines()), number)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def seconds(filelist: Path, shard_size: int, more: list[str]) -> float:
    """Return the time of one run, from the shell to its end."""
    out = FOLDER / "out"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "predict.py", f"--config={CONFIG}", f"--weights={FOLDER / 'random.pdparams'}",
               f"--filelist={filelist}", f"--save_dir={out}", "--report=False", "--log_interval=100000000",
               "--use_gpu=False", *more, *([f"--shard_size={shard_size}"] if more else [])]  # fmt: skip
    start = time.perf_counter()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ})
    if ended.returncode:
        raise InputError(f"{' '.join(command)}: {ended.stderr.strip()}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--shard_size", type=int, default=1000, help="default: %(default)s")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_weights(FOLDER / "random.pdparams")
    lists = {number: write_list(number) for number in (FEW, args.videos)}
    times = {(way, number): [] for way in WAYS for number in lists}
    for repeat in range(-1, args.repeats):  # the first round warms up with few clips
        for way, number in times:
            if repeat >= 0 or number == FEW:
                taken = seconds(lists[number], args.shard_size, WAYS[way])
                if repeat >= 0:
                    times[way, number].append(taken)
    machine = common.describe_machine()
    common.print_machine(machine)
    rows, results = [], {"machine": machine, **vars(args)}
    for way in WAYS:
        few, many = (min(times[way, number]) for number in lists)  # disturbances only ever add time
        rate = (args.videos - FEW) / (many - few)
        start = few - FEW / rate
        results[way] = {"start": start, "rate": rate, "seconds": {n: times[way, n] for n in lists}}
        first = results["predict.py"]["rate"]
        rows.append([way, f"{start:.1f}", f"{rate:.1f}", f"{100 * (first / rate - 1):+.1f}%"])
    common.print_table(["way", "start (s)", "videos/s", "time per video"], rows)
    print(f"written to {common.write_results('cluster', results)}")


if __name__ == "__main__":
    run(main)

"""Measure the cost of many views of a clip: `python benchmarks/views.py`.

25 segments x 10 crops of a 340x256 clip of 10 s, ResNet-50, float32. It compares reading and computing them on one core
with 250 times the network's time for one view. It also measures the peak memory of predict.py and its processes
together, which needs Linux. Takes 4 minutes. The exit code is 1 above 1.1 times the time, or above 1.5 GB.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways
from utils.cli import run
from utils.errors import RunError

SEGMENTS, CROPS = 25, 10
MOST_TIME, MOST_BYTES = 1.1, 1.5e9
PROTOCOL = (
    f"INFER.seg_num={SEGMENTS}", f"INFER.crops={CROPS}", "INFER.sampling=uniform", "INFER.resize=opencv",
    "INFER.precision=float32", "INFER.use_gpu=False", f"INFER.weights={ways.WEIGHTS}",
)  # fmt: skip


def measure_time(video: str, repeats: int) -> dict[str, common.Times]:
    """Return the processor seconds, on one core, of reading all views, of the network for them, and for eight."""
    common.pin_to_one_core()

    from inference.network import load_network
    from reader.build import clip_spec
    from reader.dataset import read_clip
    from utils.config.loading import load_config

    config = load_config(ways.ROOT / "configs" / "tsn.yaml", {}, PROTOCOL)
    views = load_network(config, config.infer, "cpu", num_videos=1)
    config_of_one = load_config(ways.ROOT / "configs" / "tsn.yaml", {}, [*PROTOCOL, "INFER.crops=1"])
    view = load_network(config_of_one, config_of_one.infer, "cpu", num_videos=1)

    def read() -> np.ndarray:
        return read_clip(clip_spec(config.infer), video)[0][None]

    frames = read()
    return common.measure(
        {
            "reading, all views": lambda: read,
            "network, all views": lambda: lambda: views(frames),
            "network, 8 views": lambda: lambda: view(frames[:, :8]),  # one view alone takes longer than an eighth
        },
        repeats,
        time.process_time,
    )


def most_memory(video: str) -> float:
    """Return the peak memory of predict.py and its processes together in bytes; shared memory counts once."""
    sets = [flag for setting in PROTOCOL for flag in ("--set", setting)]
    command = [sys.executable, "predict.py", f"--video_path={video}", *sets]
    command.append(f"--save_dir={common.RESULTS / 'predicted'}")
    process = subprocess.Popen(command, cwd=ways.ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0.0
    while process.poll() is None:
        most = max(most, sum(map(proportional_set_size, family(process.pid))))
        time.sleep(0.05)
    if process.returncode:
        raise RunError(f"predict.py ended with exit code {process.returncode}")
    return most


def family(process: int) -> list[int]:
    """Return the ids of a process and all its descendants; see proc(5)."""
    found = [process]
    for thread in Path(f"/proc/{process}/task").glob("*"):
        try:
            children = (thread / "children").read_text().split()
        except OSError:  # the process has ended
            continue
        found += [member for child in children for member in family(int(child))]
    return found


def proportional_set_size(process: int) -> float:
    """Return the bytes of a process; shared ones are divided by the number of their users."""
    try:
        return 1024 * int(re.search(r"^Pss: +(\d+)", Path(f"/proc/{process}/smaps_rollup").read_text(), re.M)[1])
    except (OSError, TypeError):  # the process has ended
        return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="measurements (default: 5)")
    repeats = parser.parse_args().repeats
    os.environ.setdefault("PADDLE_TSN_CACHE", str(common.RESULTS / "cache"))
    os.environ["PYTHONWARNINGS"] = "ignore:No ccache found"
    machine = common.describe_machine()
    common.print_machine(machine)
    ways.make_weights()
    [video] = common.make_clips(common.ClipKind("340x256 default", 340, 256), 1)
    memory = most_memory(video) if os.path.exists("/proc/self/smaps_rollup") else float("nan")
    times = measure_time(video, repeats)
    read, network, eight = (t.median for t in times.values())
    ratio = (read + network) / (SEGMENTS * CROPS * eight / 8)
    rows = [[name, f"{t.median:.3f} ±{100 * t.spread:.0f}%"] for name, t in times.items()]
    common.print_table(["on one core", "s"], rows)
    print(f"reading and network, to {SEGMENTS * CROPS} times the network's time for a view: {ratio:.3f}")
    print(f"predict.py and its processes together: {memory / 1e6:.0f} MB at most")
    content = {"machine": machine, "seconds": {name: t.seconds for name, t in times.items()}}
    content |= {"ratio": ratio, "memory": memory}
    print(f"\nwritten to {common.write_results('views', content)}")
    if ratio > MOST_TIME or memory > MOST_BYTES:
        raise RunError("many views cost more than they may")


if __name__ == "__main__":
    run(main)

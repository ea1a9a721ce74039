"""Measure the gain of the training engines on the CPU: `python benchmarks/train.py`.

A step (forward, loss, backward, Momentum) on a batch in memory, with Paddle's own kernels (eager), with oneDNN's
convolutions (TRAIN.engine=onednn), and with torch if it is installed: float32, NCHW, the same network, batch and
threads. Every measurement is a process of its own on as many cores as it may use, in turns; needs an idle machine. With
two cores, also oneDNN in two ranks, each with its own batch and half of the cores: the frames of both per second, with
gradients summed over gloo after backward, as on the CPU, or in pieces during it, as on GPUs.

    --torch venv/bin/python   another interpreter that has torch; everything else runs in this one
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from utils.processes.gradients import PIECE

# name: (num_layers, crop size, videos per batch, segments)
CASES = {"R50 224": (50, 224, 5, 3), "R18 112": (18, 112, 8, 3), "R18 32": (18, 32, 16, 3)}
NUM_CLASSES = 10
SUMS = {"2 ranks, one sum": None, "2 ranks, in pieces": PIECE}  # name: bytes per piece


def batch(size: int, videos: int, segments: int):
    """Return (frames uint8 [N, T, size, size, 3], labels int64 [N])."""
    import numpy as np

    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (videos, segments, size, size, 3), dtype=np.uint8)
    return frames, random.integers(0, NUM_CLASSES, videos)


def make_step(
    loss_of: Callable[[], Any], optimizer: Any, clear_gradients: Callable[[], None], gradients: Any = None
) -> Callable[[], None]:
    """Return a function that computes a step, with whichever library."""

    def step() -> None:
        loss = loss_of()
        if gradients:
            gradients.begin()
        loss.backward()
        if gradients:
            gradients.finish()
        optimizer.step()
        clear_gradients()
        float(loss)

    return step


def paddle_step(engine: str, num_layers: int, size: int, videos: int, segments: int):
    """Return a function that computes a step, and whether this is rank 0."""
    from training.environment import set_environment
    from utils.processes.launch import start_ranks

    set_environment()
    if sums := engine in SUMS:
        start_ranks(2, use_gpu=False)
    import paddle

    from models.tsn import TSN
    from training.cpu_engine import set_engine
    from utils.processes.gradients import GradientSum
    from utils.processes.limits import available_cores
    from utils.processes.ranks import join_ranks

    world = join_ranks("cpu")
    paddle.seed(0)
    model = TSN(NUM_CLASSES, segments, num_layers)
    optimizer = paddle.optimizer.Momentum(
        0.001, parameters=model.parameters(), weight_decay=paddle.regularizer.L2Decay(1e-4)
    )
    wanted = "onednn" if sums else engine
    if set_engine(model, wanted, "cpu") != wanted:
        sys.exit(f"{wanted} is not to be had here")
    paddle.base.core.set_num_threads(available_cores() // world.size)  # for eager too
    frames, labels = map(paddle.to_tensor, batch(size, videos, segments))
    gradients = GradientSum(model.parameters(), world, SUMS[engine]) if sums else None

    def loss_of():
        return paddle.nn.functional.cross_entropy(model(frames), labels)

    return make_step(loss_of, optimizer, lambda: optimizer.clear_grad(set_to_zero=False), gradients), world.is_main


def torch_step(num_layers: int, size: int, videos: int, segments: int):
    """Return the same with torch."""
    import torch

    from benchmarks.torch_resnet import TSN

    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = TSN(NUM_CLASSES, num_layers)
    optimizer = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9, weight_decay=1e-4)
    frames, labels = map(torch.from_numpy, batch(size, videos, segments))
    loss_of = lambda: torch.nn.functional.cross_entropy(model(frames), labels)  # noqa: E731
    return make_step(loss_of, optimizer, optimizer.zero_grad), True


def measure(engine: str, case: str, cores: int, steps: int) -> None:
    """Print the seconds of each step after the first, and the peak memory in MB, as JSON."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    step, is_main = torch_step(*CASES[case]) if engine == "torch" else paddle_step(engine, *CASES[case])
    seconds = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    if is_main:
        print(json.dumps([seconds[1:], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4, help="steps of a measurement (default: 4)")
    parser.add_argument("--repeats", type=int, default=2, help="measurements of each (default: 2)")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2], help="cores of a measurement (default: 1 2)")
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON", help="an interpreter that has torch")
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES), help="default: all")
    parser.add_argument("--measure", nargs=3, metavar=("ENGINE", "CASE", "CORES"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure[0], args.measure[1], int(args.measure[2]), args.steps)
        return

    from benchmarks import common

    machine = common.describe_machine()
    common.print_machine(machine)
    has_torch = subprocess.run([args.torch, "-c", "import torch"], capture_output=True).returncode == 0
    alone = ["eager", "onednn", *(["torch"] if has_torch else [])]
    rows, results = [], {}
    for case in args.cases:
        videos, segments = CASES[case][2:]
        for cores in args.cores:
            engines = [*alone, *(SUMS if cores > 1 else ())]
            seconds: dict[str, list[float]] = {engine: [] for engine in engines}
            memory: dict[str, float] = {}
            for _ in range(args.repeats):
                for engine in engines:
                    python = args.torch if engine == "torch" else sys.executable
                    command = [python, __file__, "--steps", str(args.steps), "--measure", engine, case, str(cores)]
                    ended = subprocess.run(command, capture_output=True, text=True)
                    if ended.returncode:
                        sys.exit(ended.stderr)
                    values, memory[engine] = json.loads(ended.stdout.splitlines()[-1])
                    seconds[engine] += values
            eager = common.Times(seconds["eager"]).median
            for engine in engines:
                times, ranks = common.Times(seconds[engine]), 2 if engine in SUMS else 1
                rows.append(
                    [
                        f"{case}, {videos} x {segments} frames, {cores} core{'s' * (cores > 1)}, {engine}",
                        f"{ranks * videos * segments / times.median:.1f} ±{100 * times.spread:.0f}%",
                        f"{ranks * eager / times.median:.2f}",
                        f"{memory[engine]:.0f}",
                        f"{memory[engine] / memory['eager']:.2f}",
                    ]
                )
            results[f"{case}, {cores}"] = {"seconds": seconds, "memory_mb": memory}
    common.print_table(["step", "frames/s", "of eager", "peak memory, MB", "of eager"], rows)
    print(f"\nwritten to {common.write_results('train', {'machine': machine, 'results': results})}")


if __name__ == "__main__":
    main()

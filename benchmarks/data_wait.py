"""Measure whether training waits for its data: `python benchmarks/data_wait.py`.

The same steps of the demo's network (ResNet-18, 16 videos of 3 frames a step) run on batches in memory, and on batches
that reader processes decode meanwhile: steps per second of each, and the share of time spent waiting. In turns, wall
clock; needs an idle machine and the demo's clips, which it makes; takes 2 minutes.

Then several ranks run, as on GPUs. Each has its readers (num_reader_threads: auto) and a network that takes time but no
processor. Measured are the videos per second of all ranks, compared with the same number of readers for a process that
does nothing else; clips of 10 s at 340x256. If other programs compute at the same time, Linux may give ranks, which are
sessions of their own, more of the cores than readers alone: then compare them with ranks that compute nothing.
"""

import argparse
import json
import subprocess
import sys
import time
from itertools import cycle, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common
from utils.cli import run
from utils.processes.limits import available_cores

ROOT = Path(__file__).parents[1]


class Training:
    """The demo's network, its list, and the objects for a step."""

    def __init__(self, num_workers: int):
        from training.environment import set_environment

        set_environment()
        import paddle

        from models import build_model
        from reader.build import build_loader, read_section_list
        from training.cpu_engine import set_engine
        from utils.config.loading import load_config

        sets = [f"TRAIN.num_reader_threads={num_workers}"]
        self.config = load_config(ROOT / "configs" / "tsn_demo.yaml", {}, sets)
        self.entries = read_section_list(self.config, self.config.train)
        self.loader = build_loader(self.config, self.config.train, self.entries, augment_seed=0)
        self.model = build_model(self.config.model)
        set_engine(self.model, "onednn", "cpu")
        self.optimizer = paddle.optimizer.Momentum(0.01, parameters=self.model.parameters())

    def batches(self, number: int):
        """Return the first `number` batches of the list, read by the loader's processes on request."""
        order = list(islice(cycle(range(len(self.entries))), number * self.config.train.batch_size))
        return self.loader.batches(order)

    def steps(self, batches) -> tuple[float, float]:
        """Return (steps per second, share of the time spent waiting for batches)."""
        import paddle

        from reader.loader import timed

        self.model.train()
        number, waited, start = 0, 0.0, time.perf_counter()
        for batch, seconds in timed(iter(batches)):
            logits = self.model(paddle.to_tensor(batch.frames))
            loss = paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(batch.labels))
            loss.backward()
            self.optimizer.step()
            self.optimizer.clear_grad()
            number, waited = number + 1, waited + seconds
        elapsed = time.perf_counter() - start
        return number / elapsed, waited / elapsed


def measure_ranks(numbers: list[int], compute: float, steps: int, repeats: int) -> dict[str, list[dict[str, float]]]:
    """Measure in turns readers alone, one per core, and each number of ranks, with benchmarks/rank_process.py."""
    clips = common.make_clips(common.ClipKind("340x256 default", 340, 256), 4)
    path = common.RESULTS / "data_wait.list"
    path.write_text("".join(f"{clip} 0\n" for _ in range(16) for clip in clips))  # enough for every reader
    cores = available_cores()
    ways = {f"{cores} readers alone": (1, cores, 0.0)}
    ways |= {f"{n} ranks, {1000 * step:g} ms a step": (n, "auto", step) for n in numbers for step in (0.0, compute)}
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, (ranks, readers, seconds) in ways.items():
            command = [sys.executable, "benchmarks/rank_process.py", path, ranks, readers, seconds, steps]
            said = subprocess.run(list(map(str, command)), cwd=ROOT, check=True, capture_output=True, text=True)
            results[name].append(json.loads(said.stdout.splitlines()[-1]))
    return results


def print_ranks(results: dict[str, list[dict[str, float]]]) -> None:
    alone = common.Times([each["videos"] for each in next(iter(results.values()))]).median
    rows = []
    for name, values in results.items():
        rate = common.Times([each["videos"] for each in values])
        waited = common.Times([each["waited"] for each in values]).median
        speed = f"{rate.median:.1f} ±{100 * rate.spread:.0f}%"
        rows.append([name, speed, f"{100 * rate.median / alone:.0f}%", f"{100 * waited:.0f}%"])
    common.print_table(["clips of 10 s", "videos/s", "of those of readers alone", "waiting for data"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="steps of a measurement (default: 20)")
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each (default: 5)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="reader processes (default: 1 2)")
    ranks = [available_cores()]
    parser.add_argument("--ranks", type=int, nargs="*", default=ranks, help="(default: as many as there are cores)")
    parser.add_argument(
        "--compute", type=float, default=0.2, help="seconds of a rank's step of 8 videos (default: 0.2)"
    )
    args = parser.parse_args()
    subprocess.run([sys.executable, "data/make_demo.py"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    machine = common.describe_machine()
    common.print_machine(machine)
    results: dict[str, list[tuple[float, float]]] = {}
    for workers in args.workers:
        training = Training(workers)
        with training.loader:
            in_memory = list(training.batches(args.steps))
            training.steps(in_memory[:3])  # to warm up
            for _ in range(args.repeats):
                results.setdefault(f"in memory, beside {workers} idle readers", []).append(training.steps(in_memory))
                results.setdefault(f"{workers} reader processes", []).append(
                    training.steps(training.batches(args.steps))
                )
    rows, base = [], 1.0
    for name, values in results.items():
        rate = common.Times([rate for rate, _ in values])
        waited = common.Times([share for _, share in values]).median
        base = rate.median if name.startswith("in memory") else base
        rows.append(
            [
                name,
                f"{rate.median:.2f} ±{100 * rate.spread:.0f}%",
                f"{100 * rate.median / base:.0f}%",
                f"{100 * waited:.1f}%",
            ]
        )
    common.print_table(["batches", "steps/s", "of those in memory", "waiting for data"], rows)
    of_ranks = measure_ranks(args.ranks, args.compute, args.steps, args.repeats) if args.ranks else {}
    if of_ranks:
        print()
        print_ranks(of_ranks)
    content = {"machine": machine, "steps": args.steps, "results": results, "ranks": of_ranks}
    print(f"\nwritten to {common.write_results('data_wait', content)}")


if __name__ == "__main__":
    run(main)

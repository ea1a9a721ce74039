"""How fast a video becomes its five likeliest classes, from file to names: `python benchmarks/predict.py`.

ResNet-50, 400 classes, random weights, 7 segments, 340x256 H.264 clips of 10 s with x264's default key frames; one
video at a time, one core, one thread, everything loaded before. Each way has a process of its own; they are measured
in turns, in processor time, so that other processes count for little. Takes 3 minutes. mmaction2 takes part after

    pip install torch mmengine "mmcv-lite<2.2" mmaction2 decord importlib_metadata "setuptools<81"

With --lists predict.py is then timed over whole lists on all cores, against what the processor times above allow;
that needs an idle machine and 5 more minutes.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways
from utils.cli import run
from utils.files import write_text
from utils.processes.limits import available_cores

STAGES = ("decode", "crop", "network")


def serve(pipe: Connection, name: str) -> None:
    """The life of a way's process: for each path the processor seconds of its stages, at last its peak memory in MB."""
    common.pin_to_one_core()
    way = ways.WAYS[name]()
    pipe.send("ready")
    while (content := pipe.recv()) is not None:
        seconds = []
        for stage in (way.decode, way.crop, way.network):
            start = time.process_time()
            content = stage(content)
            seconds.append(time.process_time() - start)
        pipe.send(seconds)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(names: list[str], paths: list[str], repeats: int) -> dict[str, dict]:
    """Of each way its processor seconds per video, in all and by stage, medians of the repeats, and its memory."""
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for name in names:
        pipes[name], theirs = context.Pipe()
        processes.append(context.Process(target=serve, args=(theirs, name), daemon=True))
        processes[-1].start()
        theirs.close()
        pipes[name].recv()
    rounds: dict[str, list[list[float]]] = {name: [] for name in names}  # [repeat][stage], a mean over the clips
    for repeat in range(-1, repeats):  # the first round warms up
        for name, pipe in pipes.items():
            clips = [ask(pipe, path) for path in paths]
            if repeat >= 0:
                rounds[name].append([sum(stage) / len(paths) for stage in zip(*clips)])
    results = {}
    for name, pipe in pipes.items():
        stages = {stage: common.Times(list(seconds)).median for stage, seconds in zip(STAGES, zip(*rounds[name]))}
        total = common.Times([sum(seconds) for seconds in rounds[name]])
        results[name] = {"seconds": total.median, "spread": total.spread, **stages, "peak_mb": ask(pipe, None)}
    for process in processes:
        process.join()
    return results


def ask(pipe: Connection, path: str | None) -> object:
    pipe.send(path)
    return pipe.recv()


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
    """The steady rate of predict.py on all cores, and its share of what the parts' processor times allow."""
    lists = []
    for name, precision in ((ways.FLOAT32, "float32"), (ways.BFLOAT16, "bfloat16")):
        if name not in results:
            continue
        few, many = (64, 128) if precision == "float32" else (64, 224)  # both are shared by all cores
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
    """Seconds of one run of predict.py over a list of `number` videos."""
    filelist = common.RESULTS / "predict.list"
    write_text(filelist, "".join(f"{paths[i % len(paths)]}\n" for i in range(number)))
    flags = [f"--filelist={filelist}", f"--weights={ways.WEIGHTS}", f"--precision={precision}"]
    flags += [f"--save_dir={common.RESULTS / 'predicted'}", "--log_interval=1000000"]
    sets = [flag for setting in ways.SETTINGS for flag in ("--set", setting)]
    command = [sys.executable, "predict.py", *flags, *sets]
    start = time.perf_counter()
    subprocess.run(command, cwd=ways.ROOT, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=4, help="clips (default: 4)")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each way (default: 7)")
    parser.add_argument("--lists", action="store_true", help="also time predict.py over lists, on all cores")
    args = parser.parse_args()
    os.environ.setdefault("PADDLE_TSN_CACHE", str(common.RESULTS / "cache"))
    os.environ["PYTHONWARNINGS"] = "ignore:No ccache found"  # of the ways' processes, each time paddle is imported
    machine = common.describe_machine()
    common.print_machine(machine)
    paths = common.make_clips(common.ClipKind("340x256 default", 340, 256), args.clips)
    ways.make_weights()
    results = measure(ways.available_ways(), paths, args.repeats)
    show(results)
    lists = measure_lists(results, paths, 3) if args.lists else []
    content = {"machine": machine, "threads": 1, "clock": "process time", "results": results, "lists": lists}
    print(f"\nwritten to {common.write_results('predict', content)}")


if __name__ == "__main__":
    run(main)

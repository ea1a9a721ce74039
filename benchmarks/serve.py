"""Measure serve.py under load: `python benchmarks/serve.py`.

Videos/s of ResNet-50, 400 classes, random weights, 7 segments, 340x256 H.264 clips of 10 s, all cores, float32, with
several clients that each send the next clip after the last answer; compared with predict.py's steady rate over a list
of the same clips. The clients run on the same cores. Then the memory of all its processes (PSS) over --requests
requests with frames of 32x32, a tenth of which warm up. Needs an idle machine; takes 10 minutes.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways
from benchmarks.predict import time_predict
from benchmarks.views import family, proportional_set_size
from utils.cli import run
from utils.processes.limits import available_cores

BOUNDARY = "clip"
SMALL = ("INFER.short_size=36", "INFER.target_size=32", "INFER.seg_num=1")


@contextlib.contextmanager
def server(*settings: str) -> Iterator[tuple[int, int]]:
    """Open a context with the port and the process id of a serve.py."""
    sets = [flag for setting in (*ways.SETTINGS, *settings) for flag in ("--set", setting)]
    flags = ["--port=0", f"--weights={ways.WEIGHTS}", "--precision=float32"]
    command = [sys.executable, "serve.py", *flags, *sets]
    with subprocess.Popen(command, cwd=ways.ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = next(int(found[1]) for line in process.stdout if (found := re.search(r"serving on .*:(\d+)$", line)))
            yield port, process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def load(port: int, paths: list[str], number: int, clients: int) -> tuple[list[float], float]:
    """Return the seconds of each of `number` requests, and of all together, with `clients` clients at a time."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="video"; filename="clip.mp4"\r\n\r\n'.encode()
    bodies = [head + Path(path).read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode() for path in paths]
    kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    todo, seconds, lock = iter(range(number)), [], threading.Lock()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            with lock:
                if (i := next(todo, None)) is None:
                    break
            start = time.perf_counter()
            connection.request("POST", "/api/predict", bodies[i % len(bodies)], kind)
            answer = connection.getresponse()
            content = json.loads(answer.read())
            assert answer.status == 200, content
            seconds.append(time.perf_counter() - start)
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seconds) == number, f"{number - len(seconds)} requests were not answered"
    return seconds, time.perf_counter() - start


def measure_speed(paths: list[str], videos: int, repeats: int, clients: int) -> dict[str, object]:
    """Return the rates of serve.py and predict.py, measured in turns, and the server's latencies."""
    served, predicted, latencies = [], [], []
    with server() as (port, _):
        load(port, paths, 2 * clients, clients)
        for _ in range(repeats):
            seconds, total = load(port, paths, videos, clients)
            served.append(videos / total)
            latencies += seconds
            few, many = videos // 2, videos + videos // 2
            predicted.append(videos / (time_predict("float32", paths, many) - time_predict("float32", paths, few)))
    p99 = statistics.quantiles(latencies, n=100)[98]
    rates = common.Times(served).median, common.Times(predicted).median
    print(f"serve.py {rates[0]:.2f} videos/s, predict.py {rates[1]:.2f}: {100 * rates[0] / rates[1]:.0f}%", end="; ")
    print(f"{clients} clients wait {statistics.median(latencies):.2f} s (median), {p99:.2f} s (p99)", flush=True)
    return {"served": served, "predicted": predicted, "latencies": latencies, "clients": clients}


def measure_memory(paths: list[str], requests: int, clients: int) -> dict[str, float]:
    """Return the megabytes of the server after a tenth of the requests and after all of them."""

    def used() -> float:
        return sum(map(proportional_set_size, family(pid))) / 1e6

    with server(*SMALL) as (port, pid):
        load(port, paths, max(1, requests // 10), clients)
        first = used()
        load(port, paths, requests, clients)
        last = used()
    print(f"memory: {first:.0f} MB, {requests} requests later {last:.0f} MB", flush=True)
    return {"first": first, "last": last, "requests": requests}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=128, help="videos of a measurement (default: 128)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements (default: 3)")
    parser.add_argument("--clients", type=int, default=4 * available_cores(), help="(default: four per core)")
    parser.add_argument("--requests", type=int, default=10_000, help="whose memory is watched (default: 10000)")
    args = parser.parse_args()
    os.environ.setdefault("PADDLE_TSN_CACHE", str(common.RESULTS / "cache"))
    machine = common.describe_machine()
    common.print_machine(machine)
    paths = common.make_clips(common.ClipKind("340x256 default", 340, 256), 4)
    ways.make_weights()
    content = {"machine": machine, "speed": measure_speed(paths, args.videos, args.repeats, args.clients)}
    small = common.make_clips(common.ClipKind("64x48", 64, 48, seconds=1), 4)
    content["memory"] = measure_memory(small, args.requests, args.clients)
    print(f"\nwritten to {common.write_results('serve', content)}")


if __name__ == "__main__":
    run(main)

"""Measure how reading scales with readers, as processes and as threads: `python benchmarks/reader.py`.

Clips per second that the loader's processes deliver to this one, for 1, 2, 4, ... readers up to the number of cores,
compared with threads that do the same in this process. Each is also measured beside a thread that always computes in
Python, as a program around the network may. Wall clock, in turns; needs an idle machine; takes 4 minutes.
"""

import argparse
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common
from reader.dataset import ClipSpec, read_clip
from reader.filelist import Entry
from reader.loader import Loader
from utils.cli import run
from utils.processes.limits import available_cores

# A reader thread beside a busy one waits for the interpreter at every packet, for seconds per video.
FEW = 4
SPEC = ClipSpec(num_segments=3, seglen=1, short_side=256, crop_size=224)


@contextmanager
def busy_thread(wanted: bool) -> Iterator[None]:
    """Run a thread, if wanted, that holds the interpreter whenever it can, until the context ends."""
    stop = threading.Event()

    def count() -> None:
        number = 0
        while not stop.is_set():
            number += 1

    thread = threading.Thread(target=count, daemon=True)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if wanted:
            thread.join()


def with_processes(loader: Loader, busy: bool) -> Callable[[], None]:
    def read() -> None:
        with busy_thread(busy):
            for _ in loader.batches():
                pass

    return read


def with_threads(paths: list[str], number: int, busy: bool) -> Callable[[], None]:
    def read() -> None:
        with busy_thread(busy), ThreadPoolExecutor(number) as pool:
            list(pool.map(lambda path: read_clip(SPEC, path), paths))

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    number = f"videos read in a measurement (default: 96; by threads beside a busy one {FEW})"
    parser.add_argument("--videos", type=int, default=96, help=number)
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each way (default: 3)")
    args = parser.parse_args()
    machine = common.describe_machine()
    common.print_machine(machine)
    clips = common.make_clips(common.ClipKind("340x256 default", 340, 256), 4)
    paths = [clips[i % len(clips)] for i in range(args.videos)]
    entries = [Entry(path, 0, i) for i, path in enumerate(paths, start=1)]
    numbers = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= available_cores()]
    loaders = {n: Loader(entries, SPEC, 8, num_classes=1, num_workers=n, buffer_videos=16) for n in numbers}
    runs = {}
    for busy in (False, True):
        for n, loader in loaders.items():
            runs["processes", n, busy] = lambda loader=loader, busy=busy: with_processes(loader, busy)
            runs["threads", n, busy] = lambda n=n, busy=busy: with_threads(paths[: FEW if busy else None], n, busy)
    try:
        times = common.measure(runs, args.repeats)
    finally:
        for loader in loaders.values():
            loader.__exit__(None, None, None)
    rows = []
    for (kind, n, busy), t in times.items():
        one, videos = times[kind, 1, busy].median, FEW if busy and kind == "threads" else args.videos
        name = f"{n} {kind}{', beside a busy Python thread' * busy}"
        rows.append([name, f"{videos / t.median:.1f} ±{100 * t.spread:.0f}%", f"{one / t.median:.2f}x"])
    common.print_table(["readers", "videos/s", "to one of its kind"], rows)
    seconds = {f"{n} {kind}, busy {busy}": t.seconds for (kind, n, busy), t in times.items()}
    content = {"machine": machine, "videos": args.videos, "seconds": seconds}
    print(f"\nwritten to {common.write_results('reader', content)}")


if __name__ == "__main__":
    run(main)

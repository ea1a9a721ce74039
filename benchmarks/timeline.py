"""Measure the cost of a long video's timeline: `python benchmarks/timeline.py [--minutes 60]`.

It compares predict.py with --window=10, from a 1280x720 file to the classes of its windows, ResNet-50, 3 segments,
float32, with the bare decoder for the needed frames plus the network for as many crops. Processor seconds of all
processes, on one core. It also measures the peak memory of the reader's process and of this one, also for a video five
times as long. Needs Linux; takes 3 minutes, the first time 5. The exit code is 1 if the time is more than 1.3 times as
long, or memory grows by more than 50 MB.
"""

import argparse
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common, ways
from reader import sparse, windows
from reader.packets import open_video, read_packets, video_stream
from reader.streams import StreamProcess
from utils.cli import run
from utils.errors import RunError
from utils.storage.files import write_atomic

WINDOW, STRIDE = 10.0, 5.0
KIND = common.ClipKind("1280x720", 1280, 720, seconds=20)
MOST_TIME, MOST_GROWTH_MB = 1.3, 50
SETTINGS = ("INFER.precision=float32", "INFER.use_gpu=False", f"INFER.weights={ways.WEIGHTS}")


def make_video(minutes: float) -> str:
    """Return a file of that many minutes: one compressed clip, repeated."""
    [clip] = common.make_clips(KIND, 1)
    path = common.RESULTS / "clips" / f"{KIND.name}_{minutes:g}min.mp4"
    times = max(1, round(60 * minutes / KIND.seconds))

    def write(target: Path) -> None:
        with av.open(clip) as source, av.open(str(target), "w", format="mp4") as out:
            stream = source.streams.video[0]
            copy = out.add_stream_from_template(stream)
            length = round(KIND.seconds / stream.time_base)
            for number in range(times):
                source.seek(0)
                for packet in source.demux(stream):
                    if packet.size:
                        packet.pts, packet.dts = packet.pts + number * length, packet.dts + number * length
                        packet.stream = copy
                        out.mux(packet)

    if not path.exists():
        write_atomic(path, write)
    return str(path)


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds of this process and of the children that end meanwhile."""

    def now() -> float:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + ended.ru_utime + ended.ru_stime

    start = now()
    work()
    return now() - start


def peak_mb(pid: int | str) -> float:
    """Return the peak memory of a process."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


class Ours:
    """The steps of predict.py."""

    def __init__(self):
        ways.make_weights()

        from inference.network import load_network
        from reader.build import clip_spec
        from utils.config.loading import load_config

        config = load_config(ways.ROOT / "configs" / "tsn.yaml", {}, SETTINGS)
        self.section, self.spec = config.infer, clip_spec(config.infer)
        self.network = load_network(config, config.infer, "cpu", num_videos=1)
        self.crops = 0
        self.reader_mb = 0.0

    def timeline(self, path: str) -> None:
        from results.long_video import see_windows

        with StreamProcess(60, windows.stream_windows) as process:
            parts = process.results(path, windows.stream_windows, self.spec, WINDOW, STRIDE)
            see_windows(self.network, self.section, lambda logits: int(logits.argmax()), self._counted(parts, process))

    def _counted(self, parts: Iterator, process: StreamProcess) -> Iterator:
        self.crops = 0
        for part in parts:
            if isinstance(part, windows.Frames):
                self.crops += len(part.crops)
                self.reader_mb = peak_mb(process.pid)
            yield part

    def network_alone(self) -> None:
        for start in range(0, self.crops, 8):
            self.network(np.zeros((min(8, self.crops - start), 1, 224, 224, 3), np.uint8))


def decoder_alone(path: str, spec: object) -> None:
    """Decode the frames that the timeline needs, and drop them."""
    with open_video(path) as container:
        stream = video_stream(path, container)
        packets = read_packets(path, container, stream, kept_bytes=0)
        clock = windows.Clock(packets, stream)
        spans = windows.window_spans(clock.duration, WINDOW, STRIDE, 1 / clock.rate)
        shown = clock.shown(packets)
        moments = [moment for span in spans for moment in windows.moments(*span, clock.rate, spec)]
        wanted = {int(np.searchsorted(shown, moment, "right")) - 1 for moment in moments}
        for _ in sparse.frames_for(stream.codec_context, packets, wanted):
            pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2, help="length of the video (default: 2)")
    parser.add_argument("--repeats", type=int, default=3, help="measurements of each (default: 3)")
    args = parser.parse_args()
    os.environ.setdefault("PADDLE_TSN_CACHE", str(common.RESULTS / "cache"))
    machine = common.describe_machine()
    common.print_machine(machine)
    path, longer = make_video(args.minutes), make_video(5 * args.minutes)
    common.pin_to_one_core()
    ours = Ours()
    ours.timeline(path)  # to warm up
    ours.network_alone()
    memory = {"reader": [ours.reader_mb], "network": [peak_mb("self")]}
    parts = {
        "timeline": lambda: ours.timeline(path),
        "decoder alone": lambda: decoder_alone(path, ours.spec),
        "network alone": ours.network_alone,
    }
    seconds = {name: [] for name in parts}
    for _ in range(args.repeats):
        for name, work in parts.items():
            seconds[name].append(processor_seconds(work))
    times = {name: common.Times(values) for name, values in seconds.items()}
    ours.timeline(longer)
    memory["reader"].append(ours.reader_mb)
    memory["network"].append(peak_mb("self"))

    ratio = times["timeline"].median / (times["decoder alone"].median + times["network alone"].median)
    rows = [[name, f"{t.median:.2f} ±{100 * t.spread:.0f}%"] for name, t in times.items()]
    common.print_table([f"{args.minutes:g} minutes of 720p", "processor s"], rows)
    print(f"{ratio:.2f} times the decoder and the network for {ours.crops // 5} frames, a process's start included")
    for name, (short, long) in memory.items():
        print(f"memory of the {name}'s process: {short:.0f} MB, over five times the length {long:.0f} MB")
    results = {"machine": machine, "seconds": seconds, "ratio": ratio, "peak_mb": memory, "minutes": args.minutes}
    print(f"written to {common.write_results('timeline', results)}")
    growth = max(long - short for short, long in memory.values())
    if ratio > MOST_TIME or growth > MOST_GROWTH_MB:
        raise RunError(
            f"{ratio:.2f} times as much (at most {MOST_TIME}), {growth:.0f} MB more (at most {MOST_GROWTH_MB})"
        )


if __name__ == "__main__":
    run(main)

"""Measure how fast N frames are read from a video, by way and kind of clip: `python benchmarks/decode.py`.

One core, one thread; processor time, which other processes hardly affect. Every way reads the same frames, the middle
ones of N segments, as RGB arrays. The floor is libavcodec alone on the packets that the sparse way needs: no file, no
container, no colours. Takes about 3 minutes.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common
from data.arguments import count
from reader import sparse
from reader.decode import read_frames
from reader.packets import open_video, read_packets, video_stream
from reader.sampling import segment_indices
from utils.cli import run
from utils.config.flags import Parser

# Kinds of clips, and the number of clips of each.
KINDS = {
    common.ClipKind("340x256 default", 340, 256): 3,
    common.ClipKind("340x256 keyint 12", 340, 256, keyint=12): 3,
    common.ClipKind("720p default", 1280, 720): 1,
}
READ_ALL, FLOOR, OURS = "OpenCV, read all", "libavcodec alone", "ours (PyAV, sparse)"


def opencv(path: str, num_frames: int, read_all: bool) -> list[np.ndarray]:
    """Return the frames as the original reads them: all of them in RGB, or only the wanted ones in RGB."""
    import cv2

    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if read_all:
        frames = []
        while (frame := capture.read()[1]) is not None:
            frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        return [frames[i] for i in segment_indices(len(frames), num_frames)]
    wanted = segment_indices(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), num_frames)
    frames = []
    for i in range(wanted[-1] + 1):
        capture.grab()
        if i in wanted:
            frames.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB))
    return frames


def decord(path: str, num_frames: int) -> np.ndarray:
    import decord

    reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
    return reader.get_batch(segment_indices(len(reader), num_frames)).asnumpy()


class Recorder:
    """A decoder that records its calls, to repeat them on another one."""

    def __init__(self, context: av.VideoCodecContext):
        self.__dict__.update(context=context, calls=[])

    def __getattr__(self, name: str) -> object:
        return getattr(self.context, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.context, name, value)

    def decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        self.calls.append((self.context.skip_frame, packet))
        return self.context.decode(packet)

    def flush_buffers(self) -> None:
        self.calls.append(None)
        self.context.flush_buffers()


def floor(path: str, num_frames: int) -> Callable[[], Callable[[], None]]:
    """Prepare a decoder that does only what the sparse way asks for."""
    with open_video(path) as container:
        stream = video_stream(path, container)
        packets = read_packets(path, container, stream)
        recorder = Recorder(stream.codec_context)
        sparse.decode(recorder, packets, set(segment_indices(len(packets.shown), num_frames)), lambda frame: frame)

    def prepare() -> Callable[[], None]:
        context = video_stream(path, open_video(path)).codec_context

        def decode() -> None:
            for call in recorder.calls:
                if call is None:
                    context.flush_buffers()
                else:
                    context.skip_frame = call[0]
                    context.decode(call[1])

        return decode

    return prepare


def ways(path: str, num_frames: int) -> dict[str, Callable[[], Callable[[], object]]]:
    """Return the ways to read a clip that can run on this machine, by name."""
    available: dict[str, Callable[[], object]] = {}
    if importlib.util.find_spec("cv2"):
        available[READ_ALL] = lambda: opencv(path, num_frames, read_all=True)
        available["OpenCV, grab and retrieve"] = lambda: opencv(path, num_frames, read_all=False)
    if importlib.util.find_spec("decord"):
        available["decord"] = lambda: decord(path, num_frames)
    available[OURS] = lambda: read_frames(path, lambda n: segment_indices(n, num_frames))
    return {name: lambda way=way: way for name, way in available.items()} | {FLOOR: floor(path, num_frames)}


Table = dict[str, dict[int, common.Times]]  # way -> number of frames -> times per video


def measure_kind(kind: common.ClipKind, num_clips: int, counts: Sequence[int], repeats: int) -> Table:
    """Return the time per video for each way and number of frames; each repeat is a mean over the clips."""
    paths = common.make_clips(kind, num_clips)
    table: Table = {}
    for num_frames in counts:
        of_clips = [common.measure(ways(path, num_frames), repeats, time.process_time) for path in paths]
        for name in of_clips[0]:
            rounds = zip(*(times[name].seconds for times in of_clips))
            table.setdefault(name, {})[num_frames] = common.Times([float(np.mean(seconds)) for seconds in rounds])
    return table


def show(kind: common.ClipKind, table: Table, counts: Sequence[int]) -> None:
    rows = []
    for name, times in table.items():
        row = [name]
        for n in counts:
            ratio = f"{table[READ_ALL][n].median / times[n].median:.2f}x" if READ_ALL in table else "-"
            row += [f"{1000 * times[n].median:.1f} ±{100 * times[n].spread:.0f}%", ratio]
        rows.append(row)
    header = [f"{kind.name}, N ="] + [cell for n in counts for cell in (f"{n}: ms", "ratio")]
    print()
    common.print_table(header, rows)
    for other in [name for name in ("decord", FLOOR) if name in table]:
        ratios = ", ".join(f"{table[OURS][n].median / table[other][n].median:.2f}" for n in counts)
        print(f"time of ours to that of {other}: {ratios}")


def main() -> None:
    parser = Parser("benchmarks/decode.py", "Measures how fast N frames are read, in which way, from which clips.")
    parser.add_argument("--frames", type=count, nargs="+", default=[3, 8, 25], metavar="N", help="default: 3 8 25")
    parser.add_argument("--repeats", type=count, default=5, help="measurements of each (default: 5)")
    args = parser.parse_args()
    common.pin_to_one_core()
    machine = common.describe_machine()
    common.print_machine(machine)
    print(f"Processor milliseconds per video of 10 s, 1 thread, median of {args.repeats}; ratio to '{READ_ALL}'")
    results = []
    for kind, num_clips in KINDS.items():
        table = measure_kind(kind, num_clips, args.frames, args.repeats)
        show(kind, table, args.frames)
        results += [
            {"clips": kind.name, "way": name, "frames": n, "seconds": t.median, "spread": t.spread, "all": t.seconds}
            for name, times in table.items()
            for n, t in times.items()
        ]
    summary = {"machine": machine, "threads": 1, "clock": "process time", "results": results}
    print(f"\nwritten to {common.write_results('decode', summary)}")


if __name__ == "__main__":
    run(main)

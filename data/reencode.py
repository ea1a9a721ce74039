"""Re-encodes the videos of a list for sparse reading: small frames, and a key frame every few of them.

    python data/reencode.py data/dataset/kinetics/train.list --out data/k400_256 --short_side 256 --keyint 12

Reading few frames of a video means decoding from the key frame before each of them, so close key frames make it fast,
for somewhat more bytes. Frame n stays frame n; rotation is applied, audio dropped. The new list (`path label`) lies in
the folder, as does a table of the videos that cannot be read. Run again, it goes on where it was stopped.
"""

import csv
import hashlib
import io
import json
import os
import queue
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from fractions import Fraction
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import Parser, count
from reader import sparse
from reader.decode import VideoError, read_frames
from reader.filelist import Entry, read_list
from reader.packets import open_video, read_packets, video_stream
from reader.sampling import segment_indices
from reader.workers import describe_failure
from utils.cli import run
from utils.errors import InputError, RunError
from utils.files import write_atomic, write_text
from utils.log import progress_bar
from utils.processes.child import Child, NoAnswer
from utils.processes.limits import available_cores

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
# Seconds after which a video is given up.
TIME_LIMIT = 3600.0
# Videos that are read before and after to tell what re-encoding gains.
NUM_SAMPLES = 20
MANIFEST = "reencode.json"


@dataclass(frozen=True)
class Settings:
    """How videos are encoded: the short side is made no larger than `short_side`, x264's crf and preset as they are."""

    short_side: int
    keyint: int
    crf: int
    preset: str


@dataclass(frozen=True)
class Job:
    source: str
    target: Path
    settings: Settings


def target_of(out: Path, source: str) -> Path:
    """Where the re-encoded video goes: out/folder/name-DIGEST.mp4, the digest that of the whole path.

    Files of one name in different folders keep apart, whatever else is in the list.
    """
    path = Path(os.path.abspath(source))
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    return out / path.parent.name / f"{path.stem[:50]}-{digest}.mp4"  # names must not be longer than 255 bytes


def reencode(job: Job) -> None:
    """Writes job.target, whole or not at all. Raises VideoError for an unreadable source, RunError for a full disk."""
    with open_video(job.source) as container:
        stream = video_stream(job.source, container)
        packets = read_packets(job.source, container, stream)
        rate = (stream.average_rate or Fraction(25)).limit_denominator(1001)
        rate = rate if 1 <= rate <= 240 else Fraction(25)
        frames = sparse.all_frames(stream.codec_context, packets)

        def write(path: Path) -> None:
            num_frames = encode(path, frames, rate, job.settings)
            if num_frames == 0:
                raise VideoError(job.source, "no frame could be decoded")
            with open_video(str(path)) as written:
                promised = len(read_packets(str(path), written, video_stream(str(path), written)).shown)
            if promised != num_frames:
                raise RunError(f"{job.target}: {promised} of {num_frames} frames were written")

        job.target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(job.target, write)


def encode(path: Path, frames: Iterator[av.VideoFrame], rate: Fraction, settings: Settings) -> int:
    """The number of frames, which it writes as H.264 in MP4, upright, with even sides."""
    options = {"crf": str(settings.crf), "preset": settings.preset, "g": str(settings.keyint)}
    num_frames = 0
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=rate, options=options)
        stream.codec_context.thread_count = 1  # videos are encoded in parallel
        for num_frames, frame in enumerate(frames, start=1):
            if num_frames == 1:
                scale = min(1, settings.short_side / min(frame.width, frame.height))
                width, height = (max(2, 2 * round(side * scale / 2)) for side in (frame.width, frame.height))
            image = sparse.upright(sparse.to_rgb(frame, width, height, "BICUBIC"), frame)
            if num_frames == 1:
                stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            picture.pts, picture.time_base = num_frames - 1, 1 / rate
            out.mux(stream.encode(picture))
        if num_frames:
            out.mux(stream.encode(None))
    return num_frames


def _serve(pipe: Connection) -> None:
    """Re-encodes jobs until the pipe closes."""
    pipe.send("ready")
    while True:
        job = pipe.recv()
        result = "done", None
        try:
            reencode(job)
        except VideoError as error:
            result = "unreadable", error.reason
        except RunError as error:
            result = "failed", str(error)
        except Exception as error:  # not the video's fault: the parent stops with this message
            result = "failed", describe_failure(job.source, error)
        pipe.send(result)


def reencode_all(jobs: list[Job], workers: int) -> dict[str, str]:
    """The sources that cannot be re-encoded, with their reasons. Raises RunError for what is no fault of a video."""
    children = [Child("an encoder process", _serve) for _ in range(min(workers, len(jobs)))]
    idle: queue.SimpleQueue[Child] = queue.SimpleQueue()
    for child in children:
        idle.put(child)

    def reencode_apart(job: Job) -> str | None:
        child = idle.get()  # there are as many as threads: this never waits
        try:
            kind, content = child.ask(job, TIME_LIMIT)
        except NoAnswer as error:
            return str(error)
        finally:
            idle.put(child)
        if kind == "failed":
            raise RunError(content)
        return content

    unreadable = {}
    pool = ThreadPoolExecutor(max(1, len(children)))
    try:
        with progress_bar(len(jobs), "re-encoding") as bar:
            futures = {pool.submit(reencode_apart, job): job for job in jobs}
            for future in as_completed(futures):
                if reason := future.result():
                    unreadable[futures[future].source] = reason
                bar.update()
    finally:  # after Ctrl-C and SIGTERM, too: no process is left behind
        for child in children:
            child.close()  # the thread that waits for its answer wakes up
        pool.shutdown(cancel_futures=True)
        for child in children:
            child.kill()
    return unreadable


def prepare_folder(out: Path, settings: Settings) -> None:
    """Makes the folder or takes up one that was made with the same settings. Raises InputError."""
    manifest, content = out / MANIFEST, json.dumps(asdict(settings)) + "\n"
    try:
        if manifest.exists() and manifest.read_text() != content:
            made = manifest.read_text().strip()
            raise InputError(f"--out {out}: was made with other settings, {made}; name a new folder")
        if not manifest.exists() and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"--out {out}: exists and was not made by this script; name a new folder")
        out.mkdir(parents=True, exist_ok=True)
        for left_by_a_killed_run in out.glob("*/.*.tmp"):
            left_by_a_killed_run.unlink()
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written: {error.strerror}") from None
    write_text(manifest, content)


def write_lists(list_path: Path, entries: list[Entry], targets: dict[str, Path], unreadable: dict[str, str]) -> None:
    """Writes the new list, labels kept, and the table of unreadable videos beside it."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["video", "error"])
    rows.writerows(unreadable.items())
    write_text(list_path.with_suffix(".unreadable.csv"), table.getvalue())
    lines = (
        targets[entry.path].as_posix() + ("" if entry.label is None else f" {entry.label}")
        for entry in entries
        if entry.path not in unreadable
    )
    write_text(list_path, "".join(f"{line}\n" for line in lines))


def reading_speed(paths: list[str]) -> float:
    """Videos per second of processor time when 3 frames are read of each."""
    start = time.process_time()
    for path in paths:
        read_frames(path, lambda n: segment_indices(n, 3))
    return len(paths) / (time.process_time() - start)


def summarize(list_path: Path, pairs: list[tuple[str, Path]], num_made: int, num_unreadable: int) -> None:
    """Prints what was done and what it gained. pairs: (source, target) of every video of the new list."""
    state = f"{num_made} re-encoded now, {len(pairs) - num_made} there already"
    print(f"{list_path}: {len(pairs)} videos ({state}), {num_unreadable} unreadable")
    if num_unreadable:
        print(f"{list_path.with_suffix('.unreadable.csv')}: which ones, and why")
    pairs = [(source, target) for source, target in pairs if os.path.isfile(source)]
    if not pairs:
        return  # the sources are gone since an earlier run
    before, after = (sum(os.path.getsize(pair[i]) for pair in pairs) for i in (0, 1))
    print(f"size: {before / 1e6:.1f} -> {after / 1e6:.1f} MB ({100 * (after / before - 1):+.0f}%)")
    sample = pairs[:: -(-len(pairs) // NUM_SAMPLES)]
    old, new = (reading_speed([str(pair[i]) for pair in sample]) for i in (0, 1))
    print(f"reading 3 frames: {old:.1f} -> {new:.1f} videos/s and core ({new / old:.1f}x, {len(sample)} videos tried)")


def main() -> None:
    parser = Parser("data/reencode.py", "Re-encodes the videos of a list so that a few frames of each are read fast.")
    parser.add_argument("list", type=Path, help="file list, with or without labels")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the videos and the new list")
    parser.add_argument("--short_side", type=count, default=256, help="pixels, if larger now (default: %(default)s)")
    parser.add_argument("--keyint", type=count, default=12, help="frames between key frames (default: %(default)s)")
    parser.add_argument("--crf", type=int, choices=range(52), default=23, metavar="0..51",
                        help="x264's quality, lower is better (default: %(default)s)")  # fmt: skip
    parser.add_argument("--preset", choices=PRESETS, default="medium", help="x264's effort (default: %(default)s)")
    parser.add_argument("--workers", type=count, default=available_cores(), help="processes (default: one per core)")
    args = parser.parse_args()

    entries = read_list(str(args.list), num_classes=sys.maxsize, needs_label=False)
    new_list = args.out / args.list.name
    if new_list.resolve() == args.list.resolve():
        raise InputError(f"--out {args.out}: the new list would replace {args.list}")
    settings = Settings(args.short_side, args.keyint, args.crf, args.preset)
    prepare_folder(args.out, settings)
    targets = {entry.path: target_of(args.out, entry.path) for entry in entries}
    jobs = [Job(source, target, settings) for source, target in targets.items() if not target.exists()]
    unreadable = reencode_all(jobs, args.workers)
    write_lists(new_list, entries, targets, unreadable)
    pairs = [(source, target) for source, target in targets.items() if source not in unreadable]
    if not pairs:
        raise RunError(f"{args.list}: none of its videos can be read; see {new_list.with_suffix('.unreadable.csv')}")
    summarize(new_list, pairs, len(jobs) - len(unreadable), len(unreadable))


if __name__ == "__main__":
    run(main)

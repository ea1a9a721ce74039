"""Make the demo's clips: small H.264 files of 8 classes, and the lists to train, evaluate and predict with them.

    python data/make_demo.py            # data/demo: 320 clips for training, 40 for validation, 80 held out

A clip shows three coloured objects one after the other, each for a third of its length, on a grey background. Its
class is the SET of the three, in any order: 8 of the 10 possible sets of 3 out of 5 hues. Everything else is random:
shape, size, speed, place, shade, spin, background, length. No single moment tells the class. Someone who knows the
objects of k thirds guesses the class at best this often (tests/data/test_make_demo.py counts it):

    one moment 20.8 %      two moments 41.7 %      three moments 100 %

Objects differ in hue, because a network learns hues from random weights within minutes, but not shapes. Each clip is in
the folder of its class, like a user's own videos. Clips depend only on (seed, subset, class, number), so they are the
same on every run with any number of processes. Run again, the program makes only the missing clips.
"""

import itertools
import json
import multiprocessing
import os
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import count, documented_parser, seed
from utils.cli import run
from utils.errors import InputError, os_errors
from utils.log import progress_bar
from utils.processes.child import interrupts_blocked
from utils.storage.files import write_atomic, write_text
from utils.storage.lock import holds_others, locked_folder

VERSION = 2  # of the set: increase it when a change makes other clips or paths from the same seed
WIDTH, HEIGHT, FPS = 96, 72, 24
# Degrees on the colour circle, distinct even with the jitter below and in 4:2:0 video.
HUES = {"red": 0, "yellow": 58, "green": 125, "blue": 225, "pink": 305}
HUE_JITTER = 8
# Without these two sets, red is in 4 of the 8 sets and every other colour in 5, so one object says almost nothing.
LEFT_OUT = {frozenset({"red", "yellow", "green"}), frozenset({"red", "blue", "pink"})}
CLASSES = sorted(tuple(sorted(c)) for c in itertools.combinations(HUES, 3) if frozenset(c) not in LEFT_OUT)
NAMES = ["_".join(colours) for colours in CLASSES]
SUBSETS = ("train", "val", "test")


def hsv_to_rgb(hue: float, saturation: float, value: float) -> np.ndarray:
    """Return float32 [3] RGB in 0..255 of a hue in degrees, saturation and value in 0..1."""
    # Standard formula: channel n = v - v*s*max(0, min(k, 4-k, 1)), k = (n + hue/60) mod 6, n = 5, 3, 1.
    k = (np.array([5, 3, 1], np.float32) + hue / 60) % 6
    return 255 * (value - value * saturation * np.clip(np.minimum(k, 4 - k), 0, 1))


def background(rng: np.random.Generator, length: int) -> np.ndarray:
    """Return float32 [T, H, W, 1] grey levels 0..255: blurred noise that drifts, with fine grain on top."""
    margin = 16
    coarse = rng.uniform(80, 180, (7, 8))
    rows = np.linspace(0, 5.999, HEIGHT + margin)
    columns = np.linspace(0, 6.999, WIDTH + margin)
    smooth = np.stack([np.interp(rows, np.arange(7), coarse[:, i]) for i in range(8)], axis=1)  # [H + margin, 8]
    smooth = np.stack([np.interp(columns, np.arange(8), row) for row in smooth])  # [H + margin, W + margin]
    smooth += rng.normal(0, rng.uniform(2, 10), smooth.shape)
    start, end = rng.uniform(0, margin, (2, 2))
    offsets = np.linspace(start, end, length).astype(int)  # [T, 2]
    frames = [smooth[y : y + HEIGHT, x : x + WIDTH] for y, x in offsets]
    return np.stack(frames).astype(np.float32)[..., None]


def object_masks(rng: np.random.Generator, length: int) -> np.ndarray:
    """Return float32 [T, H, W, 1] coverage 0..1 of one moving, spinning regular polygon (3 to 6 corners) or disc."""
    radius = rng.uniform(13, 23)
    # A straight motion that bounces (a triangle wave). The centre stays in the part of a 4:3 frame that every square
    # crop of full height includes.
    place, speed = rng.uniform(0, 1, 2), rng.uniform(-2, 2, 2) / FPS
    wave = np.abs((place + speed * np.arange(length)[:, None] + 1) % 2 - 1)  # [T, 2] in 0..1
    inset = (10, WIDTH - HEIGHT)
    y, x = (inset + wave * (HEIGHT - 2 * inset[0], WIDTH - 2 * inset[1])).T.astype(np.float32)[:, :, None, None]
    grid_y, grid_x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    distance = np.hypot(grid_y - y, grid_x - x)  # [T, H, W]
    corners = rng.integers(3, 8)  # 7 stands for a disc
    if corners < 7:
        spin = rng.uniform(0, 6.28) + rng.uniform(-3, 3) / FPS * np.arange(length, dtype=np.float32)[:, None, None]
        wedge = 2 * np.pi / corners
        angle = (np.arctan2(grid_y - y, grid_x - x) + spin) % wedge - wedge / 2
        distance = distance * np.cos(angle) / np.cos(wedge / 2)
        radius *= 1.1
    return np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)[..., None]


def draw_clip(rng: np.random.Generator, colours: tuple[str, ...]) -> np.ndarray:
    """Return uint8 [T, H, W, 3] RGB, T in 48..72: the three colours in random order, a third of the clip each."""
    length = int(rng.integers(48, 73))
    frames = np.repeat(background(rng, length), 3, axis=3)
    third = length // 3
    for part, name in enumerate(rng.permutation(colours)):
        rows = slice(part * third, length if part == 2 else (part + 1) * third)
        masks = object_masks(rng, len(frames[rows]))
        hue = HUES[str(name)] + rng.uniform(-HUE_JITTER, HUE_JITTER)
        colour = hsv_to_rgb(hue, saturation=rng.uniform(0.75, 1), value=rng.uniform(0.7, 1))
        frames[rows] += masks * (colour - frames[rows])
    return np.clip(frames, 0, 255).astype(np.uint8)


def write_mp4(path: Path, frames: np.ndarray) -> None:
    """Encode uint8 [T, H, W, 3] RGB frames as H.264."""
    with av.open(f"file:{path}", "w", format="mp4") as container:
        # x264's output depends on the number of threads. Without the last option it differs from run to run.
        options = {"preset": "veryfast", "crf": "23", "g": str(FPS), "threads": "1", "x264-params": "cpu-independent=1"}
        stream = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def make_clip(job: tuple[Path, tuple[int, ...]]) -> None:
    """Write one clip; `job` is its path and its random key: (seed, subset, class, number)."""
    path, key = job
    frames = draw_clip(np.random.default_rng(key), CLASSES[key[2]])
    write_atomic(path, lambda partial: write_mp4(partial, frames))


def plan(out: Path, seed: int, clips_per_class: dict[str, int]) -> dict[str, list[tuple[Path, int, tuple[int, ...]]]]:
    """Return (path, label, random key) of every clip by subset, with the classes in turn."""
    return {
        subset: [
            (out / subset / name / f"{name}_{number:03d}.mp4", label, (seed, index, label, number))
            for number in range(clips_per_class[subset])
            for label, name in enumerate(NAMES)
        ]
        for index, subset in enumerate(SUBSETS)
    }


def prepare_folder(out: Path, settings: dict[str, object]) -> None:
    """Prepare `out` for clips of these settings, and remove clips of other settings.

    Raises InputError if `out` holds files that this script did not make, or cannot be written.
    """
    manifest, content = out / "manifest.json", json.dumps(settings, indent=1) + "\n"
    with os_errors(InputError, f"--out {out}: cannot be written"):
        if not manifest.exists() and holds_others(out, manifest.name):
            raise InputError(f"--out {out}: exists and was not made by this script: name a new folder")
        if manifest.exists() and manifest.read_bytes() != content.encode():
            for subset in SUBSETS:
                shutil.rmtree(out / subset, ignore_errors=True)
        for subset, name in itertools.product(SUBSETS, NAMES):
            (out / subset / name).mkdir(parents=True, exist_ok=True)
            for left_by_a_killed_run in (out / subset / name).glob(".*.tmp"):
                left_by_a_killed_run.unlink()
    write_text(manifest, content)


def write_lists(out: Path, clips: dict[str, list[tuple[Path, int, tuple[int, ...]]]]) -> None:
    """Write labels.json, a list `path label` per subset, and infer.list with the held-out clips without labels."""
    write_text(out / "labels.json", json.dumps(NAMES, indent=1) + "\n")
    for subset, rows in clips.items():
        write_text(out / f"{subset}.list", "".join(f"{path.as_posix()} {label}\n" for path, label, _ in rows))
    write_text(out / "infer.list", "".join(f"{path.as_posix()}\n" for path, _, _ in clips["test"]))


def make_demo(out: Path, seed: int, clips_per_class: dict[str, int], workers: int) -> int:
    """Make the missing clips of the set, and return their number."""
    prepare_folder(out, {"version": VERSION, "seed": seed, "clips_per_class": clips_per_class})
    clips = plan(out, seed, clips_per_class)
    jobs = [(path, key) for rows in clips.values() for path, _, key in rows if not path.exists()]
    if jobs:
        with interrupts_blocked():  # only this process gets Ctrl-C, and ends the others
            pool = multiprocessing.get_context("spawn").Pool(min(workers, len(jobs)))
        with pool, progress_bar(len(jobs), "making clips") as bar:
            for _ in pool.imap_unordered(make_clip, jobs, chunksize=4):
                bar.update()
    write_lists(out, clips)
    return len(jobs)


def main() -> None:
    parser = documented_parser("data/make_demo.py", __doc__)
    folder = {"type": Path, "default": Path("data/demo"), "metavar": "DIR"}
    parser.add_argument("--out", **folder, help="folder to fill (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, help="other seeds give other clips (default: %(default)s)")
    parser.add_argument(
        "--clips_per_class", type=count, nargs=3, default=[40, 5, 10], metavar=("TRAIN", "VAL", "TEST"),
        help="clips of each of the 8 classes for training, validation and prediction (default: 40 5 10)",
    )  # fmt: skip
    parser.add_argument("--workers", type=count, default=os.cpu_count(), help="processes (default: one per core)")
    args = parser.parse_args()
    with locked_folder(args.out, f"--out {args.out}"):
        made = make_demo(args.out, args.seed, dict(zip(SUBSETS, args.clips_per_class)), args.workers)
    train, val, test = (len(CLASSES) * n for n in args.clips_per_class)
    numbers = f"{train} clips for training, {val} for validation, {test} held out"
    print(f"{args.out}: {len(CLASSES)} classes, {numbers} ({f'{made} made now' if made else 'all there already'})")


if __name__ == "__main__":
    run(main)

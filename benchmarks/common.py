"""Share code between benchmarks: clips, timing in turns, the machine's description, tables and JSON."""

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from pathlib import Path

import av
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks are run as files
from utils.processes.limits import available_cores
from utils.storage.files import write_atomic, write_text

RESULTS = Path(__file__).parent / "results"
FPS = 30
PACKAGES = (
    "av", "numpy", "pillow", "opencv-python-headless", "opencv-python", "decord", "paddlepaddle", "paddlepaddle-gpu",
    "openvino", "nncf", "torch", "mmaction2",
)  # fmt: skip


@dataclass(frozen=True)
class ClipKind:
    """A kind of clip: `keyint` frames from one key frame to the next; None leaves x264's default, up to 250."""

    name: str
    width: int
    height: int
    keyint: int | None = None
    seconds: int = 10


def make_clips(kind: ClipKind, number: int) -> list[str]:
    """Return the paths of `number` H.264 clips of a kind, the same on every run. Missing ones are made."""
    folder = RESULTS / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{kind.name.replace(' ', '_')}_{kind.seconds}s_{i}.mp4" for i in range(number)]
    for i, path in enumerate(paths):
        if not path.exists():
            write_atomic(path, lambda temporary, i=i: _encode(temporary, kind, seed=i))
    return [str(path) for path in paths]


def _encode(path: Path, kind: ClipKind, seed: int) -> None:
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=FPS, options={"g": str(kind.keyint)} if kind.keyint else {})
        stream.width, stream.height, stream.pix_fmt = kind.width, kind.height, "yuv420p"
        for picture in _video(kind, np.random.default_rng(seed)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base = Fraction(1, FPS)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def _video(kind: ClipKind, rng: np.random.Generator) -> Iterable[np.ndarray]:
    """Yield frames, uint8 [height, width, 3], of two shots, with the cut somewhere in the middle third.

    With x264's defaults they take about as many bytes as Kinetics-400's clips at 340x256, 0.3 to 0.6 Mbit/s.
    """
    num_frames = kind.seconds * FPS
    cut = int(num_frames * rng.uniform(1 / 3, 2 / 3))
    yield from _shot(kind, rng, cut)
    yield from _shot(kind, rng, num_frames - cut)


def _shot(kind: ClipKind, rng: np.random.Generator, num_frames: int) -> Iterable[np.ndarray]:
    """Yield a hand-held camera's view of a textured ground with three moving objects and some camera noise.

    The noise is coarse, as in videos that were compressed before. With it, the frames between key frames and the frames
    that no other frame refers to take about the same share of bytes as in real clips.
    """
    width, height = kind.width, kind.height
    ground = Image.fromarray(_texture(2 * width, 2 * height, rng))
    objects = [Image.fromarray(_texture(width // 4, height // 3, rng)) for _ in range(3)]
    phases = rng.uniform(0, 2 * np.pi, (3, 4))
    for t in np.arange(num_frames) / FPS:
        zoom = 0.6 + 0.1 * np.sin(0.5 * t + phases[0, 3])  # below 1 enlarges: as soft as a lens
        x = (0.6 + 0.3 * np.sin(0.4 * t + phases[0, 0])) * width
        y = (0.6 + 0.3 * np.sin(0.3 * t + phases[1, 0])) * height
        camera = (zoom, 0.02, x, -0.02, zoom, y)
        view = ground.transform((width, height), Image.Transform.AFFINE, camera, Image.Resampling.BILINEAR)
        for picture, (a, b, c, _) in zip(objects, phases):
            left = (0.5 + 0.5 * np.sin(0.9 * t + a)) * 0.75 * width
            top = (0.5 + 0.5 * np.sin(1.3 * t + b)) * 0.66 * height
            view.paste(picture.rotate(20 * np.sin(t + c)), (int(left), int(top)))
        noise = np.kron(rng.normal(0, 3, (height // 4, width // 4)), np.ones((4, 4)))
        yield np.clip(np.asarray(view) + noise[:, :, None], 0, 255).astype(np.uint8)


def _texture(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 [height, width, 3] with a spectrum that falls faster than that of sharp photographs (1)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    white = [np.fft.rfft2(rng.normal(size=(height, width))) for _ in range(3)]
    layers = [np.fft.irfft2(spectrum / frequency**1.6, s=(height, width)) for spectrum in white]
    colour = np.stack([layers[0] + 0.4 * layers[1], layers[0], layers[0] + 0.4 * layers[2]], axis=-1)
    return np.clip(128 + 48 * colour / colour.std(), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Times:
    """Seconds of repeated measurements."""

    seconds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """Return half the range of the middle half, as a share of the median; 0 for a single measurement."""
        if len(self.seconds) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return (high - low) / 2 / self.median


def measure(
    ways: dict[str, Callable[[], Callable[[], object]]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, Times]:
    """Return the time of each way, measured in turns so that a busy moment of the machine affects all of them.

    ways: each is called before every measurement to prepare it, and returns the function to measure.
    clock: time.process_time excludes other processes.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(-1, repeats):  # the first round warms up
        for name, prepare in ways.items():
            run = prepare()
            start = clock()
            result = run()
            elapsed = clock() - start
            del result
            if repeat >= 0:
                seconds[name].append(elapsed)
    return {name: Times(values) for name, values in seconds.items()}


def pin_to_one_core() -> None:
    """Keep this process, its threads and its children on one core, if the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def describe_machine() -> dict[str, object]:
    """Return processor, usable cores, system, and the versions of Python and installed packages."""
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), cpu)
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"cpu": cpu, "cores": available_cores(), "system": platform.platform(), "versions": versions}


def print_machine(machine: dict[str, object]) -> None:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    cores = f"{machine['cores']} core{'s' * (machine['cores'] != 1)}"
    print(f"{machine['cpu']}, {cores} used, {machine['system']}\n{versions}")


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table with the first column left-aligned and numbers right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(zip(cells, widths))) + " |"

    print(line(header))
    print("|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|")
    print("\n".join(map(line, rows)), flush=True)


def write_results(name: str, results: dict[str, object]) -> Path:
    """Write benchmarks/results/`name`.json and return its path."""
    path = RESULTS / f"{name}.json"
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(results, indent=1) + "\n")
    return path

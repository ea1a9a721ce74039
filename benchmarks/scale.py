"""Measure the time and memory for lists of 10^4, 10^5 and 10^6 videos: `python benchmarks/scale.py`.

The videos are hard links to copies of a one-second clip, named like those of Kinetics, in 400 folders. Each script runs
unchanged in a process of its own: wall clock, processor time of all its processes, peak memory of the largest one.
Takes 10 minutes, and 2 million names in the folder of temporary files (TMPDIR chooses another one).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks import common
from benchmarks.cluster import write_weights
from data.copies.encoding import Settings, target_of
from data.reencode import MANIFEST
from utils.cli import run

ROOT = Path(__file__).resolve().parents[1]
CONFIG, NETWORK = ROOT / "configs" / "tsn.yaml", ("MODEL.num_layers=18", "INFER.target_size=32", "INFER.batch_size=16")
NUM_CLASSES = 400
LINKS = 1000  # to one copy of the clip: ext4 allows 65,000, NTFS 1,023
SETTINGS = Settings(short_side=256, keyint=12, crf=23, preset="ultrafast")

# Runs its arguments and prints what they took. It is a small process of its own, because Linux counts the memory of the
# process that starts another one as the other's.
MEASURE = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
assert status == 0, sys.argv
print(time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""


class Data:
    """A folder with `number` videos, their list, annotations, and a folder as re-encoding them would leave it."""

    def __init__(self, folder: Path, clip: str):
        self.folder, self.number, self._clip = folder, 0, clip
        self.videos, self.list, self.annotations = folder / "videos", folder / "all.list", folder / "train.csv"
        self.encoded = folder / "encoded"
        for k in range(NUM_CLASSES):
            (self.videos / f"class {k}").mkdir(parents=True)
            (self.encoded / f"class {k}").mkdir(parents=True)
        (self.encoded / MANIFEST).write_text(json.dumps(asdict(SETTINGS)) + "\n")
        self.annotations.write_text("label,youtube_id,time_start,time_end,split\n")

    def grow(self, number: int) -> None:
        """Add videos until there are `number`."""
        with open(self.list, "a") as entries, open(self.annotations, "a") as rows:
            for i in range(self.number, number):
                if i % LINKS == 0:
                    copy = self.folder / f"copy_{i}.mp4"
                    shutil.copy(self._clip, copy)
                label = i // 10 % NUM_CLASSES  # ten clips of a recording have the same class
                name = f"class {label}"
                path = f"{self.videos}/{name}/{i:011d}_000010_000020.mp4"
                os.link(copy, path)
                os.link(copy, target_of(self.encoded, path))
                entries.write(f"{path} {label}\n")
                split = {8: "val", 9: "test"}.get(i % 10, "train")
                rows.write(f"{name},{i:011d},10,20,{split}\n")
        self.number = number


# ---- a function for each row of the table: data -> (videos, arguments of python)

Row = Callable[[Data], tuple[int, list[str]]]
MAKE_LISTS = ["data/make_lists.py", "--force", "--out"]


def read_a_list(data: Data) -> tuple[int, list[str]]:
    program = "import sys; from reader.filelist import read_list; read_list(sys.argv[1], num_classes=400)"
    return data.number, ["-c", program, str(data.list)]


def make_lists(data: Data) -> tuple[int, list[str]]:
    return data.number, [*MAKE_LISTS, f"{data.folder}/lists", "--videos", str(data.videos)]


def make_lists_of_recordings(data: Data) -> tuple[int, list[str]]:
    """Return the command for lists in which ten clips come from one recording."""
    return data.number, [*make_lists(data)[1], "--group", r"(\d{10})"]


def make_lists_of_annotations(data: Data) -> tuple[int, list[str]]:
    return data.number, [*make_lists(data)[1], "--annotations", str(data.lists.annotations)]


def reencode_again(data: Data) -> tuple[int, list[str]]:
    return data.number, ["data/reencode.py", str(data.list), "--out", str(data.encoded), "--preset", SETTINGS.preset]


def reencode(data: Data) -> tuple[int, list[str]]:
    """Return the command that encodes a hundredth of the videos into a new folder."""
    number, path, out = max(1, data.number // 100), data.folder / "some.list", data.folder / "new"
    with open(data.list) as entries:
        path.write_text("".join(next(entries) for _ in range(number)))
    shutil.rmtree(out, ignore_errors=True)
    return number, ["data/reencode.py", str(path), "--out", str(out), "--preset", SETTINGS.preset]


def predict(data: Data) -> tuple[int, list[str]]:
    """Return the command for videos that do not exist: only the costs that grow with a list remain, in one process."""
    path, weights = data.folder / "missing.list", data.folder / "weights.pdparams"
    path.write_text("".join(f"{data.videos}/missing/{i:011d}_000010_000020.mp4\n" for i in range(data.number)))
    if not weights.exists():
        write_weights(weights, CONFIG, *NETWORK)
    flags = [
        f"--config={CONFIG}",
        f"--weights={weights}",
        f"--filelist={path}",
        f"--save_dir={data.folder / 'predicted'}",
    ]
    settings = [part for setting in NETWORK for part in ("--set", setting)]
    return data.number, ["predict.py", *flags, *settings, "--use_gpu=False", "--report=False", "--log_interval=1000000"]


ROWS: dict[str, Row] = {
    "a list is read (read_list)": read_a_list,
    "predict.py, no video is there": predict,
    "data/make_lists.py, a folder per class": make_lists,
    "data/make_lists.py --group": make_lists_of_recordings,
    "data/make_lists.py --annotations": make_lists_of_annotations,
    "data/reencode.py, all there already": reencode_again,
    "data/reencode.py, clips of a second to be encoded": reencode,
}


def measure(arguments: list[str]) -> list[float]:
    """Run python with the arguments, and return its seconds, processor seconds and peak MB."""
    command = [sys.executable, "-c", MEASURE, sys.executable, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return [float(number) for number in result.stdout.split()]


def table(results: dict[str, list[list[float]]]) -> list[list[str]]:
    """Return the rows to print. growth: from the row above, to compare with the growth in videos."""
    rows = []
    for name, measured in results.items():
        before = None
        for now in measured:
            videos, wall, processor, peak = now
            growth = [f"{a / b:.1f}" for a, b in zip(now, before)] if before else [""] * 4
            row = [name, f"{videos:,.0f}", f"{wall:.1f}", f"{processor:.1f}", f"{peak:.0f}", growth[0], *growth[2:]]
            rows.append(row)
            name, before = "", now
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = [10_000, 100_000, 1_000_000]
    parser.add_argument("--videos", type=int, nargs="+", default=sizes, help="numbers of videos, ascending")
    numbers = parser.parse_args().videos
    machine = common.describe_machine()
    common.print_machine(machine)
    [clip] = common.make_clips(common.ClipKind("64x48", 64, 48, seconds=1), 1)
    results: dict[str, list[list[float]]] = {name: [] for name in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        data = Data(Path(folder), clip)
        for number in numbers:
            data.grow(number)
            for name, row in ROWS.items():
                videos, arguments = row(data)
                results[name].append([videos, *measure(arguments)])
                print(f"{videos} videos: {name}", file=sys.stderr)
    heading = ["", "videos", "s", "processor s", "peak MB", "growth of videos", "of processor s", "of peak MB"]
    common.print_table(heading, table(results))
    content = {"machine": machine, "videos, s, processor s, MB": results}
    print(f"\nwritten to {common.write_results('scale', content)}")


if __name__ == "__main__":
    run(main)

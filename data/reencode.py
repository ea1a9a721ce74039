"""Re-encode the videos of a list for fast reading of single frames: small, and with frequent key frames.

    python data/reencode.py data/dataset/kinetics/train.list --out data/k400_256 --short_side 256 --keyint 12

To read a frame, a decoder starts at the key frame before it, so frequent key frames make reading fast, for slightly
larger files. Frame n stays frame n; rotation is applied, audio dropped. The folder also gets the new list (`path
label`) and a table of the unreadable videos. Run again, the program resumes, retries unreadable videos, and replaces
copies whose sources have changed (by size and time). With --fps, it makes videos from folders of frames (`folder frames
label`).
"""

import argparse
import contextlib
import json
import os
import sys
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import count, documented_parser, rate, template
from data.checks.records import Records
from data.copies.copied import CopiedSources
from data.copies.encoders import reading_times, reencode_all, reencode_on_cluster
from data.copies.encoding import PRESETS, Job, Settings, target_of
from reader.filelist import Entry, read_list
from reader.integrity import VideoError
from reader.labels import LABELS, text_of
from utils.cli import run
from utils.config.flags import check_ray_address
from utils.config.shared_keys import ModelConfig
from utils.errors import InputError, RunError, os_errors
from utils.processes.limits import available_cores
from utils.storage.files import write_csv, write_stream, write_text, writing
from utils.storage.lock import holds_others, locked_folder
from utils.storage.stamps import signature

NUM_SAMPLES = 20  # videos that are read before and after, to measure the gain
MANIFEST, SOURCES = "reencode.json", "reencode.jsonl"


class Jobs(Sequence[Job]):
    """The jobs for the videos at some positions of a list. Each is created on access."""

    def __init__(self, entries: Sequence[Entry], positions: Sequence[int], out: Path, settings: Settings):
        self._entries, self._positions, self._out, self._settings = entries, positions, out, settings

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, i: int) -> Job:
        entry = self._entries[self._positions[i]]
        target = target_of(self._out, entry.path)
        return Job(entry.path, target, self._settings, signature(entry.path), entry.frames)


def distinct(entries: Sequence[Entry]) -> Sequence[int]:
    """Return the positions of the first entry of each path."""
    positions, seen = array("q"), set()
    for i, entry in enumerate(entries):
        if entry.path not in seen:
            seen.add(entry.path)
            positions.append(i)
    return positions


def prepare_folder(out: Path, settings: Settings) -> None:
    """Prepare a folder that is empty or was made with the same settings. Raises InputError for other folders."""
    manifest, content = out / MANIFEST, json.dumps(settings.given()) + "\n"
    with os_errors(InputError, f"--out {out}: cannot be written"):
        if manifest.exists() and manifest.read_text() != content:
            made = manifest.read_text().strip()
            raise InputError(f"--out {out}: was made with other settings, {made}: name a new folder")
        if not manifest.exists() and holds_others(out, manifest.name):
            raise InputError(f"--out {out}: exists and was not made by this script: name a new folder")
        for left_by_a_killed_run in out.glob("*/.*.tmp"):
            left_by_a_killed_run.unlink()
    write_text(manifest, content)


def write_lists(list_path: Path, entries: Sequence[Entry], out: Path, unreadable: dict[str, str]) -> None:
    """Write the new list with its labels, and the table of unreadable videos beside it, both in list order."""
    found = dict.fromkeys(entry.path for entry in entries if entry.path in unreadable)

    def write_list(file: TextIO) -> None:
        for entry in entries:
            if entry.path not in unreadable:
                file.write(f"{target_of(out, entry.path).as_posix()}{text_of(entry.label)}\n")

    table = ((path, unreadable[path]) for path in found)
    write_csv(list_path.with_suffix(".unreadable.csv"), ["video", "error"], table)
    write_stream(list_path, write_list)


def summarize(list_path: Path, jobs: Jobs, num_made: int, num_unreadable: int) -> None:
    """Print how many videos were re-encoded, and the gain in size and speed. jobs: of all videos of the new list."""
    state = f"{num_made} re-encoded now, {len(jobs) - num_made} there already"
    print(f"{list_path}: {len(jobs)} videos ({state}), {num_unreadable} unreadable")
    if num_unreadable:
        print(f"{list_path.with_suffix('.unreadable.csv')}: the unreadable videos, with the reason")
    before, after, there = 0, 0, array("q")
    for i, job in enumerate(jobs):
        with contextlib.suppress(OSError, VideoError):  # the source may be gone since an earlier run
            old, new = sum(map(os.path.getsize, job.parts())), os.path.getsize(job.target)
            before, after = before + old, after + new
            there.append(i)
    if not before:
        return
    print(f"size: {before / 1e6:.1f} -> {after / 1e6:.1f} MB ({100 * (after / before - 1):+.0f}%)")
    times = reading_times([jobs[i] for i in there[:: -(-len(there) // NUM_SAMPLES)]])
    if times:
        old, new = (len(times) / sum(seconds) for seconds in zip(*times))
        gain = f"{new / old:.1f}x, {len(times)} videos tried"
        print(f"reading 3 frames: {old:.1f} -> {new:.1f} videos/s and core ({gain})")


def main() -> None:
    parser = documented_parser("data/reencode.py", __doc__)
    parser.add_argument("list", type=Path, help="file list, with or without labels")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the videos and the new list")
    parser.add_argument("--short_side", type=count, default=256, help="pixels, at most (default: %(default)s)")
    parser.add_argument("--keyint", type=count, default=12, help="frames between key frames (default: %(default)s)")
    parser.add_argument("--crf", type=int, choices=range(52), default=23, metavar="0..51",
                        help="x264's quality, lower is better (default: %(default)s)")  # fmt: skip
    parser.add_argument("--preset", choices=PRESETS, default="medium", help="x264's effort (default: %(default)s)")
    parser.add_argument("--fps", type=rate, help="frames per second, for a list of folders of frames")
    parser.add_argument("--filename_tmpl", type=template, default=ModelConfig.filename_tmpl, help="names of the files "
                        "in folders of frames, numbered from 1 or 0 (default: %(default)s)")  # fmt: skip
    parser.add_argument("--data_prefix", default="", metavar="DIR", help="folder where the list's paths begin")
    parser.add_argument("--labels", choices=LABELS, default="single", help="multi: several labels per video")
    parser.add_argument("--workers", type=count, help="processes (default: one per core)")
    parser.add_argument("--ray", metavar="WHERE", help="use the machines of a Ray cluster: local, auto or HOST:PORT")
    args = parser.parse_args()
    if args.ray is not None:
        check_ray_address(args.ray)
    if args.ray is not None and args.workers is not None:
        every = "on a cluster each machine uses all its cores"
        raise InputError(f"--workers={args.workers} and --ray={args.ray}: leave out --workers: {every}")

    frame_format = "mp4" if args.fps is None else "frames"
    how = {"frame_format": frame_format, "prefix": args.data_prefix, "labels": args.labels}
    entries = read_list(str(args.list), num_classes=sys.maxsize, needs_label=False, **how)
    new_list = args.out / args.list.name
    if new_list.resolve() == args.list.resolve():
        raise InputError(f"--out {args.out}: the new list would replace {args.list}: name another folder")
    with locked_folder(args.out, f"--out {args.out}"):
        reencode_list(args, entries, new_list)


def reencode_list(args: argparse.Namespace, entries: Sequence[Entry], new_list: Path) -> None:
    """Re-encode the missing videos and write the new list, in a folder that is locked for this run."""
    template = None if args.fps is None else args.filename_tmpl
    settings = Settings(args.short_side, args.keyint, args.crf, args.preset, args.fps, template)
    prepare_folder(args.out, settings)
    positions = distinct(entries)
    with Records(args.out / SOURCES, settings.given()) as journal:
        sources = CopiedSources(journal, entries, positions)
        remove_outdated(entries, positions, args.out, sources)
        todo = array("q", (i for i in positions if not target_of(args.out, entries[i].path).exists()))
        jobs = Jobs(entries, todo, args.out, settings)

        def done(job: Job) -> None:
            sources.note(job.source, job.file)

        if args.ray is None:
            unreadable = reencode_all(jobs, args.workers or available_cores(), done)
        else:
            unreadable = reencode_on_cluster(jobs, args.ray, done)
    write_lists(new_list, entries, args.out, unreadable)
    readable = array("q", (i for i in positions if entries[i].path not in unreadable))
    if not readable:
        raise RunError(f"{args.list}: none of its videos can be read; see {new_list.with_suffix('.unreadable.csv')}")
    summarize(new_list, Jobs(entries, readable, args.out, settings), len(todo) - len(unreadable), len(unreadable))


def remove_outdated(entries: Sequence[Entry], positions: Sequence[int], out: Path, sources: CopiedSources) -> None:
    """Remove copies whose sources have changed, and print how many. Copies of removed sources stay. Raises RunError.

    A killed run may not have noted a copy's source. Then the copy stays if it is not older than the source.
    """
    removed = 0
    for i in positions:
        path, target = entries[i].path, target_of(out, entries[i].path)
        now, copy = signature(path), signature(str(target))
        if now is None or copy is None or now == sources.of(path):
            continue
        if sources.of(path) is None and copy[1] >= now[1]:
            sources.note(path, now)
            continue
        with writing(target):
            target.unlink()
        removed += 1
    if removed:
        print(f"{out}: {removed} copies are made again, because their sources have changed", flush=True)


if __name__ == "__main__":
    run(main)

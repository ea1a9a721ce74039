"""Reads every video of some lists as training would, and says what is wrong with them.

    python data/check.py data/dataset/mine/train.list data/dataset/mine/val.list --config=data/dataset/mine/config.yaml

Frames, decoder and time limit are those of TRAIN. The folder --out gets of each NAME.list NAME.readable.list, the same
without the videos that cannot be read, and problems.csv:

    unreadable           with the reason that training would give
    duration             (of pickles: the number of frames) odd: at least twice the median of all lists, or half of it
    size                 odd: the same with the root of the number of pixels, or 1.5 times for width / height
    frame rate           odd: 4 times, as slow motion has it, or a wrong header
    same bytes           as another video of these lists; of equal sizes and ends SHA-256 decides

Odd is nothing that is within 5 robust standard deviations of the median (1.4826 times the median absolute deviation of
the logarithm): where all durations differ none is odd. The exit code is 0 where problems.csv is empty, else 1, and 2
for mistakes. check.jsonl has what was found out about each video: run again, the command goes on where it was stopped,
and of a list whose videos were put right it reads those that have changed.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import out_folder
from data.findings import PROBLEMS, Findings, VideoProblem
from data.inspection import Inspector, is_unchanged
from data.listings import Listings
from data.records import Records
from reader.build import clip_spec
from reader.loader import worker_count
from utils.cli import run
from utils.config.flags import Parser
from utils.config.loading import Config, load_config
from utils.errors import InputError, RunError, os_errors
from utils.log import progress_bar
from utils.processes.limits import available_cores
from utils.processes.parallel import ask_all, in_parallel
from utils.storage.copies import on_this_machine
from utils.storage.files import write_csv, write_stream
from utils.storage.lock import locked_folder
from utils.storage.objects import is_remote
from utils.storage.shelf import digest


def read_videos(listings: Listings, journal: Records, config: Config) -> Findings:
    """What is found out about every video: from the journal where its file is the same still, else by reading it."""
    findings = Findings(listings, journal, "frames" if config.train.format == "pkl" else "seconds")
    for offset, record in journal.records():
        if (video := listings.find(record["video"])) is not None and is_unchanged(record):
            findings.note(video, offset, record)
    known = findings.offsets >= 0
    left = listings.num_videos - int(known.sum())
    train = config.train
    processes = worker_count(train.num_reader_threads, left)
    how = clip_spec(train, train.seed), train.video_timeout, config.model.num_classes
    records = ask_all([Inspector(*how) for _ in range(processes)], Inspector.inspect, listings.unknown(known))
    with closing(records), progress_bar(listings.num_videos, "reading", initial=listings.num_videos - left) as bar:
        for record in records:
            findings.note(listings.find(record["video"]), journal.add(record), record)
            bar.update()
    return findings


def compare(findings: Findings, journal: Records, number: int) -> None:
    """Puts the SHA-256 of files that may be equal into the findings, computed by `number` threads."""
    candidates = findings.candidates()
    pool = ThreadPoolExecutor(number)
    try:
        with progress_bar(len(candidates), "comparing") as bar:
            records = ((int(video), findings.record(video)) for video in candidates)
            for video, record, sha256 in in_parallel(pool, number, _with_digest, records):
                if "sha256" not in record:
                    findings.offsets[video] = journal.add(record | {"sha256": sha256})
                findings.note_digest(video, sha256)
                bar.update()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _with_digest(task: tuple[int, dict]) -> tuple[int, dict, str]:
    video, record = task
    if "sha256" in record:
        return video, record, record["sha256"]
    path = record["video"]
    with os_errors(RunError, f"{path}: was read, and cannot be read any more"), on_this_machine(path) as local:
        return video, record, digest(Path(local))


def write_readable(listings: Listings, findings: Findings, out: Path) -> list[tuple[str, int, int, Path]]:
    """(list, its lines, those that can be read, the list that was written of them), of each list."""
    written = []
    for start, path, entries in zip(listings.starts, listings.paths, listings.lists):
        readable = findings.readable[listings.videos[start : start + len(entries)]]
        lines = (
            entry.path + ("\n" if entry.label is None else f" {entry.label}\n")
            for entry, good in zip(entries, readable)
            if good
        )
        target = out / f"{_stem(path)}.readable.list"
        write_stream(target, lambda file, lines=lines: file.writelines(lines))
        written.append((path, len(entries), int(readable.sum()), target))
    return written


def write_problems(findings: Findings, path: Path) -> Counter[str]:
    """How many there are of each kind; the table is written."""
    counts: Counter[str] = Counter()

    def counted() -> Iterator[VideoProblem]:
        for problem in findings.problems():
            counts[problem.problem] += 1
            yield problem

    write_csv(path, VideoProblem._fields, counted())
    return counts


def _stem(path: str) -> str:
    return Path(path.partition("?")[0] if is_remote(path) else path).stem


def results_folder(out: Path | None, lists: list[str]) -> Path:
    """The folder for the results. Raises InputError for names that cannot be kept apart, or no folder."""
    stems = Counter(map(_stem, lists))
    if twice := [path for path in lists if stems[_stem(path)] > 1]:
        raise InputError(f"{' and '.join(twice)}: lists of one name would be written to one file")
    if out is None and is_remote(lists[0]):
        raise InputError(f"{lists[0]}: name a folder of this machine for the results by --out")
    return Path(lists[0]).parent / "check" if out is None else out


def summarize(findings: Findings) -> str:
    """What the videos that can be read are like."""
    length, side, shape, rate = (usual.median for usual in findings.usual().values())
    if findings.length == "frames":
        return f"median: {length:.4g} frames of {side**2:.0f} pixels, width / height {shape:.3g}"
    return f"median: {length:.4g} s, {side**2:.0f} pixels, width / height {shape:.3g}, {rate:.4g} frames/s"


def main() -> None:
    description, _, epilog = (__doc__ or "").partition("\n\n")  # python -OO has none
    shown = {"epilog": epilog, "formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = Parser("data/check.py", description, **shown)
    parser.add_argument("lists", nargs="+", metavar="LIST", help="file list, with or without labels")
    parser.add_argument("--config", default="configs/tsn.yaml", help="whose TRAIN says how (default: %(default)s)")
    parser.add_argument("--out", type=out_folder, metavar="DIR", help="folder for the results (default: check, beside "
                        "the first list)")  # fmt: skip
    args = parser.parse_args()

    config = load_config(args.config)
    train, classes = config.train, config.model.num_classes
    listings = Listings(args.lists, classes, train.format)
    out = results_folder(args.out, args.lists)
    settings = {"reading": asdict(clip_spec(train, train.seed)), "num_classes": classes}
    with locked_folder(out, f"--out {out}"), Records(out / "check.jsonl", settings) as journal:
        findings = read_videos(listings, journal, config)
        compare(findings, journal, available_cores())
        lists = write_readable(listings, findings, out)
        counts = write_problems(findings, out / "problems.csv")
    for path, number, readable, target in lists:
        print(f"{path}: {readable} of {number} videos can be read: {target}")
    if findings.readable.any():
        print(summarize(findings))
    if counts:
        found = ", ".join(f"{counts[problem]} {problem}" for problem in PROBLEMS if counts[problem])
        raise RunError(f"not all is well with these lists ({found}); {out / 'problems.csv'}: which videos, and why")
    print(f"nothing is wrong with these {len(listings)} videos")


if __name__ == "__main__":
    run(main)

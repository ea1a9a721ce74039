"""Read every video of some lists as training would, and report the problems.

    python data/check.py data/dataset/mine/train.list data/dataset/mine/val.list --config=data/dataset/mine/config.yaml

TRAIN gives frames, decoder and time limit. The folder --out gets problems.csv, and for each NAME.list a
NAME.readable.list without the unreadable videos. These are the problems:

    unreadable           with the reason that training would give
    duration             (for pickles, the number of frames) at least twice the median of all lists, or at most half
    size                 the same for the root of the number of pixels; for width / height the factor is 1.5
    frame rate           the factor is 4: slow motion, for example, or a wrong header
    same bytes           as another video of these lists; SHA-256 decides if sizes and ends are equal
    looks alike          like a video of an earlier list, so both may show one recording: with --similar, as in
                         data/make_lists.py; for videos of the same list, see the last lines and similar.html

A value within 5 robust standard deviations of the median (1.4826 times the median absolute deviation of the logarithm)
is no problem, so videos of all lengths have none. The exit code is 0 if problems.csv is empty, 1 if it is not, and 2
for mistakes. check.jsonl keeps the findings for each video: run the same command to resume, or to read only the videos
that have changed.
"""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import documented_parser, out_folder, share
from data.checks.findings import PROBLEMS, Findings, VideoProblem
from data.checks.inspection import Inspector, content_digest, is_unchanged
from data.checks.listings import Listings
from data.checks.records import Records
from data.checks.sides import look_for_pairs
from reader.build import clip_spec
from reader.clip import ClipSpec
from reader.filelist import Entry
from reader.labels import text_of
from reader.loader import worker_count
from utils.cli import run
from utils.config.loading import Config, load_config
from utils.errors import InputError, RunError, os_errors
from utils.log import progress_bar
from utils.processes.limits import available_cores
from utils.processes.parallel import ask_all, in_parallel
from utils.storage.files import write_csv, write_stream
from utils.storage.lock import locked_folder
from utils.storage.objects import is_remote


def read_videos(listings: Listings, journal: Records, config: Config, pictures: bool) -> Findings:
    """Return the findings for every video: from the journal if the file is unchanged, otherwise from reading it."""
    findings = Findings(listings, journal, "seconds" if config.train.format == "mp4" else "frames")
    for offset, record in journal.records():
        complete = not pictures or "pictures" in record or record["error"] is not None
        if (video := listings.find(record["video"])) is not None and complete and is_unchanged(record):
            findings.note(video, offset, record)
    known = findings.offsets >= 0
    left = listings.num_videos - int(known.sum())
    train = config.train
    processes = worker_count(train.num_reader_threads, left)
    how = clip_spec(train, train.seed), train.video_timeout, config.model.num_classes, pictures
    records = ask_all([Inspector(*how) for _ in range(processes)], Inspector.inspect, listings.unknown(known))
    with closing(records), progress_bar(listings.num_videos, "reading", initial=listings.num_videos - left) as bar:
        for record in records:
            findings.note(listings.find(record["video"]), journal.add(record), record)
            bar.update()
    return findings


def compare(findings: Findings, journal: Records, number: int, spec: ClipSpec) -> None:
    """Compute the SHA-256 of files that may be equal with `number` threads, and add it to the findings."""
    candidates = findings.candidates()
    pool = ThreadPoolExecutor(number)
    try:
        with progress_bar(len(candidates), "comparing") as bar:
            records = ((int(video), findings.record(video)) for video in candidates)
            for video, record, sha256 in in_parallel(pool, number, partial(_with_digest, spec), records):
                if "sha256" not in record:
                    findings.offsets[video] = journal.add(record | {"sha256": sha256})
                findings.note_digest(video, sha256)
                bar.update()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _with_digest(spec: ClipSpec, task: tuple[int, dict]) -> tuple[int, dict, str]:
    video, record = task
    if "sha256" in record:
        return video, record, record["sha256"]
    with os_errors(RunError, f"{record['video']}: can no longer be read"):
        return video, record, content_digest(record, spec)


def write_readable(listings: Listings, findings: Findings, out: Path, prefix: str) -> list[tuple[str, int, int, Path]]:
    """Write the lists of readable videos. Return (list, its lines, its readable lines, the new list) for each.

    prefix: TRAIN's prefix, which the paths include and the new lists leave out again.
    """
    prefix = prefix and os.path.join(prefix, "")
    written = []
    for start, path, entries in zip(listings.starts, listings.paths, listings.lists):
        readable = findings.readable[listings.videos[start : start + len(entries)]]
        lines = (_line(entry, prefix) for entry, good in zip(entries, readable) if good)
        target = out / f"{_stem(path)}.readable.list"
        write_stream(target, lambda file, lines=lines: file.writelines(lines))
        written.append((path, len(entries), int(readable.sum()), target))
    return written


def _line(entry: Entry, prefix: str) -> str:
    frames = "" if entry.frames is None else f" {entry.frames}"
    return f"{entry.path.removeprefix(prefix)}{frames}{text_of(entry.label)}\n"


def write_problems(findings: Findings, path: Path) -> Counter[str]:
    """Write the table, and return the number of problems by kind."""
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
    """Return the folder for the results. Raises InputError if it is unknown, or two lists have the same name."""
    stems = Counter(map(_stem, lists))
    if twice := [path for path in lists if stems[_stem(path)] > 1]:
        raise InputError(f"{' and '.join(twice)}: expected lists with different names, which their results get")
    if out is None and is_remote(lists[0]):
        raise InputError(f"{lists[0]}: the list is remote: name a local folder for the results: --out=DIR")
    return Path(lists[0]).parent / "check" if out is None else out


def summarize(findings: Findings) -> str:
    """Return a summary of the readable videos."""
    length, side, shape, rate = (usual.median for usual in findings.usual().values())
    if findings.length == "frames":
        return f"median: {length:.4g} frames of {side**2:.0f} pixels, width / height {shape:.3g}"
    return f"median: {length:.4g} s, {side**2:.0f} pixels, width / height {shape:.3g}, {rate:.4g} frames/s"


def main() -> None:
    parser = documented_parser("data/check.py", __doc__)
    parser.add_argument("lists", nargs="+", metavar="LIST", help="file list, with or without labels")
    parser.add_argument(
        "--config", default="configs/tsn.yaml", help="its TRAIN says how to read (default: %(default)s)"
    )
    parser.add_argument("--out", type=out_folder, metavar="DIR", help="folder for the results (default: check, beside "
                        "the first list)")  # fmt: skip
    similar = "report clips at least this similar, 1: identical; 0: do not compare (default: %(default)s)"
    parser.add_argument("--similar", type=share, default=0.95, metavar="0..1", help=similar)
    args = parser.parse_args()

    config = load_config(args.config)
    train, classes = config.train, config.model.num_classes
    listings = Listings(args.lists, classes, train.format, train.data_prefix, config.model.labels)
    out = results_folder(args.out, args.lists)
    spec = clip_spec(train, train.seed)
    settings = {"reading": asdict(spec), "num_classes": classes}
    with locked_folder(out, f"--out {out}"), Records(out / "check.jsonl", settings) as journal:
        findings = read_videos(listings, journal, config, bool(args.similar))
        compare(findings, journal, available_cores(), spec)
        notes = look_for_pairs(findings, args.similar, spec, out / "similar.html") if args.similar else []
        lists = write_readable(listings, findings, out, train.data_prefix)
        counts = write_problems(findings, out / "problems.csv")
    for path, number, readable, target in lists:
        print(f"{path}: {readable} of {number} videos can be read: {target}")
    if findings.readable.any():
        print("\n".join([summarize(findings), *notes]))
    if counts:
        found = ", ".join(f"{counts[problem]} {problem}" for problem in PROBLEMS if counts[problem])
        raise RunError(f"these lists have problems ({found}); {out / 'problems.csv'} lists the videos and the reasons")
    print(f"found no problem in these {len(listings)} videos")


if __name__ == "__main__":
    run(main)

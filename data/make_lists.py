"""Makes the file lists of a data set, with its class names, and reports what was found, what is missing and why.

Kinetics-400, from its annotation files and a folder of clips in any of the usual namings:

    python data/make_lists.py --videos /data/k400 --annotations train.csv val.csv test.csv

One's own videos, a folder per class, split at random by --seed (or as they lie, below train/, val/ and test/):

    python data/make_lists.py --videos my_videos --out data/dataset/mine --split 0.8 0.1 0.1

Beside the lists it writes config.yaml, with which train.py, eval.py and predict.py need no other flag.
"""

import argparse
import csv
import json
import math
import os
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data import own_config
from data.annotations import Row, drop_repeated, match, read_annotations
from data.arguments import Parser, expression, out_folder, seed
from data.classes import Classes, choose_classes
from data.split import Clip, find_recordings, split_clips, split_recordings
from data.splits import SPLITS, split_of
from reader.videos import Video, find_videos
from utils.cli import run
from utils.errors import InputError
from utils.files import write_stream

LISTS = ("train.list", "val.list", "test.list", "infer.list")
OUTPUTS = (*LISTS, "kinetics_labels.json", own_config.NAME, "missing.csv", "remarks.csv", "classes.csv")
# Classes up to which the table per class is printed; it is always in classes.csv.
PRINTED_CLASSES = 20


@dataclass
class Found:
    """What was found: the clips that are listed, and all there is to say about the others."""

    clips: list[Clip]
    classes: Classes
    annotated: Counter[str] | None = None  # per split; None without annotations
    missing: list[tuple[Row, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)  # (file or file:line, what about it)
    grouping: str = ""  # what --group found

    def of(self, split: str) -> list[Clip]:
        return [clip for clip in self.clips if clip.split == split]


def from_annotations(rows: list[Row], videos: list[Video], labels: str | None) -> Found:
    """The clips of annotated videos. Raises InputError when there is not one, or a training clip has no class."""
    rows, remarks = drop_repeated(rows)
    classes = choose_classes((row.label for row in rows if row.label), labels)
    found, missing, more = match(rows, videos)
    if not found:
        example = "{}_{:06d}_{:06d}".format(*rows[0].clip)
        raise InputError(
            f"none of {len(rows)} annotated clips is among {len(videos)} video files: "
            f"expected names such as {example}.mp4, found {os.path.basename(videos[0].path)}"
        )
    clips = []
    for number, video in found.items():
        row, folder = rows[number], _class_folders(video, classes)
        label = classes.find(row.label) if row.label else folder
        if folder is not None and folder != label:
            more.append((video.path, f"lies in the folder of {classes.names[folder]}, {row.where} says {row.label}"))
        if label is None and row.split != "test":
            raise InputError(f"{row.where}: no label, and {video.path} lies in no class's folder")
        clips.append(Clip(video.path, row.split, label))
    lacking = [(rows[number], reason) for number, reason in missing.items()]
    return Found(clips, classes, Counter(row.split for row in rows), lacking, remarks + more)


def _class_folders(video: Video, classes: Classes) -> int | None:
    ids = (classes.find(name) for name in reversed(video.folders))
    return next((i for i in ids if i is not None), None)


def from_folders(
    videos: list[Video],
    labels: str | None,
    shares: Sequence[float] | None,
    split_seed: int,
    recording: re.Pattern | None = None,
) -> Found:
    """The clips of a folder per class: split as they lie below train/, val/ and test/, else by shares and seed.

    recording: what names the recording that a clip is cut from; clips of one recording go to one split.

    Raises:
        InputError: --split or --group was given for folders that are split already, no video lies in a class's folder,
            or none of them has a recording's name.
    """
    presplit = all(video.folders and split_of(video.folders[0]) for video in videos)
    if presplit and (shares or recording):
        flag = "--split" if shares else "--group"
        raise InputError(f"{flag}: {videos[0].path} and all others are split already, by folders train, val, test")
    depth = 1 if presplit else 0
    good = [video for video in videos if not video.empty and len(video.folders) > depth]
    others = (video for video in videos if video.empty or len(video.folders) <= depth)
    remarks = [(video.path, "an empty file" if video.empty else "in no class's folder") for video in others]
    if not good:
        raise InputError(f"no video lies in a folder of its class: found {videos[0].path}; or give --annotations")
    classes = choose_classes((video.folders[depth] for video in good), labels)
    shares, grouping = shares or (0.8, 0.1, 0.1), ""
    if presplit:
        clips = [Clip(v.path, split_of(v.folders[0]) or "", classes.find(v.folders[1])) for v in good]
    elif recording:
        recordings, alone = find_recordings(good, recording)
        clips = split_recordings(recordings, classes, shares, split_seed)
        grouping = f"recordings, each in one split: {len(recordings)}; videos that --group finds none in: {alone}"
    else:
        clips = split_clips(good, classes, shares, split_seed)
    return Found(clips, classes, remarks=remarks, grouping=grouping)


def lists_of(found: Found) -> dict[str, list[Clip]]:
    """The clips of each list that has one."""
    labelled = [clip for clip in found.clips if clip.label is not None]
    lists = {f"{split}.list": [clip for clip in labelled if clip.split == split] for split in SPLITS}
    # The original's users evaluate on the validation split: the test split's labels were long held back.
    lists["test.list"] = lists["test.list"] or lists["val.list"]
    lists["infer.list"] = found.of("test") or found.of("val")
    return {name: lists[name] for name in LISTS if lists[name]}


def texts_of(found: Found, lists: dict[str, list[Clip]], out: Path) -> dict[str, Iterable[str]]:
    """The pieces of text of every file to be written in `out`, by its name; made as they are written."""
    texts = {name: _lines(clips, labels=name != "infer.list") for name, clips in lists.items()}
    texts["kinetics_labels.json"] = [json.dumps(found.classes.names, indent=1, ensure_ascii=False), "\n"]
    numbers = {name: len(clips) for name, clips in lists.items()}
    texts[own_config.NAME] = [own_config.config_text(out, found.classes, numbers)]
    if found.missing:
        rows = ((r.label, r.youtube_id, r.start, r.end, r.split, why) for r, why in found.missing)
        texts["missing.csv"] = _csv(("label", "youtube_id", "time_start", "time_end", "split", "why"), rows)
    if found.remarks:
        texts["remarks.csv"] = _csv(("where", "remark"), found.remarks)
    texts["classes.csv"] = _csv(("class_id", "label", *SPLITS), _per_class(found))
    return texts


def _lines(clips: Iterable[Clip], labels: bool) -> Iterator[str]:
    return (f"{clip.path} {clip.label}\n" if labels else f"{clip.path}\n" for clip in clips)


class _Echo:
    def write(self, text: str) -> str:
        return text


def _csv(heading: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    writer = csv.writer(_Echo(), lineterminator="\n")  # writerow returns what write does
    yield writer.writerow(heading)
    yield from map(writer.writerow, rows)


def _per_class(found: Found) -> list[tuple[object, ...]]:
    """(class id, name, clips in train, val, test) of every class."""
    counts = Counter((clip.label, clip.split) for clip in found.clips)
    return [(i, name, *(counts[i, split] for split in SPLITS)) for i, name in enumerate(found.classes.names)]


def report(found: Found, videos: int) -> str:
    """The tables that end a run: per split what was found and clips per class, then per class if they are few."""
    present = [row for row in _per_class(found) if any(row[2:])]
    heading = ["split", *(["annotated", "found", "missing"] if found.annotated else ["found"])]
    rows = [[*heading, "per class: min", "median", "max"]]
    for column, split in enumerate(SPLITS, start=2):
        clips = len(found.of(split))
        numbers = [row[column] for row in present] or [0]
        total = [found.annotated[split], clips, found.annotated[split] - clips] if found.annotated else [clips]
        rows.append([split, *total, min(numbers), f"{statistics.median(numbers):g}", max(numbers)])
    text = _table(rows, left={0})
    if len(present) <= PRINTED_CLASSES:
        text += "\n\n" + _table([["class_id", "label", *SPLITS], *present], left={1})
    if untrained := [name for _, name, train, *_ in present if not train]:
        text += f"\n\nclasses without a clip for training: {len(untrained)}: {', '.join(untrained[:PRINTED_CLASSES])}"
    if found.grouping:
        text += f"\n\n{found.grouping}"
    unlabelled = sum(clip.label is None for clip in found.clips)
    if unlabelled:
        text += f"\n\ntest clips without a label, in infer.list alone: {unlabelled}"
    return text + f"\n\nvideo files found: {videos}, in no list: {videos - len(found.clips)}"


def _table(rows: Sequence[Sequence[object]], left: set[int]) -> str:
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = (f"{cell!s:{'<' if i in left else '>'}{width}}" for i, (cell, width) in enumerate(zip(row, widths)))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def write(out: Path, texts: dict[str, Iterable[str]]) -> None:
    """Writes the files, each whole or not at all; others that an earlier run left go."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be created: {error.strerror}") from None
    for name in OUTPUTS:
        if name in texts:
            write_stream(out / name, lambda file, name=name: file.writelines(texts[name]))
        else:
            (out / name).unlink(missing_ok=True)


def written(out: Path, names: Iterable[str], lists: dict[str, list[Clip]], found: Found) -> str:
    """What was written where, and what to tell the other scripts."""
    source, clips = found.classes.source, {name: len(clips) for name, clips in lists.items()}
    order = f"as in {os.path.relpath(source)}" if source else "in their alphabetical order"
    notes = {
        "missing.csv": "annotated clips without a file, and why",
        "remarks.csv": "files and annotation lines that were passed over, and why",
        "classes.csv": "clips per class",
        own_config.NAME: "for train.py, eval.py and predict.py",
        "kinetics_labels.json": f"{len(found.classes.names)} classes, numbered {order}",
    }
    if "test.list" in lists and lists["test.list"] is lists.get("val.list"):
        notes["test.list"] = "the validation clips again: no labelled clip is in the test split"
    lines = [f"written to {out}:"]
    for name in names:
        lines.append(f"  {name:20}  {notes.get(name) or f'{clips[name]} clip' + 's' * (clips[name] != 1)}")
    absolute = all(os.path.isabs(clip.path) for clip in found.clips)
    lines.append("paths are absolute" if absolute else f"paths are relative to {os.getcwd()}: run the scripts there")
    lines += ["", "next:", *(f"  {command}" for command in own_config.commands(out, found.classes, clips))]
    if "train.list" in clips:
        lines.append(
            "train.py downloads ImageNet weights to start from; --pretrain=PATH takes others, --pretrain=none none"
        )
    return "\n".join(lines)


def parse_arguments() -> argparse.Namespace:
    parser = Parser("data/make_lists.py", __doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--videos", nargs="+", required=True, metavar="DIR", help="folders with the videos, at any depth")
    add("--annotations", nargs="+", metavar="CSV", help="Kinetics annotation files; not given: a folder per class")
    add("--out", type=out_folder, default=Path("data/dataset/kinetics"), metavar="DIR", help="default: %(default)s")
    add("--force", action="store_true", help="replace lists and config.yaml that are in --out already")
    order = (
        "own: their alphabetical order; not given: data/dataset/kinetics_labels.json if it has all of them, else own"
    )
    add("--labels", metavar="JSON|own", help=f"list of names that numbers the classes; {order}")
    add("--split", nargs=3, type=float, metavar=("TRAIN", "VAL", "TEST"), help="shares, default: 0.8 0.1 0.1")
    add("--seed", type=seed, default=0, help="of the random split (default: %(default)s)")
    group = "what names a clip's recording in its path below the class's folder; a recording's clips stay in one split"
    add("--group", type=expression, metavar="REGEX", help=group)
    args = parser.parse_args()
    for flag in ("split", "group"):
        if args.annotations and getattr(args, flag):
            raise InputError(f"--{flag}: the annotations say which clip is in which split")
    shares = args.split or (1, 0, 0)
    if not (shares[0] > 0 and min(shares) >= 0 and math.isclose(sum(shares), 1, abs_tol=1e-6)):
        given = " ".join(f"{share:g}" for share in shares)
        raise InputError(f"--split {given}: expected three shares that add up to 1, some for TRAIN")
    existing = [name for name in OUTPUTS if (args.out / name).exists()]
    if existing and not args.force:
        raise InputError(f"--out {args.out}: {existing[0]} exists; --force replaces the lists and config.yaml there")
    return args


def main() -> None:
    args = parse_arguments()
    rows = read_annotations(args.annotations) if args.annotations else None
    if rows == []:
        raise InputError(f"--annotations {' '.join(args.annotations)}: no clip in them")
    # Shown on a terminal only, and after a second: 300,000 files on a network disk take minutes.
    videos = list(tqdm(find_videos(args.videos), "finding videos", unit=" files", leave=False, disable=None, delay=1))
    if not videos:
        raise InputError(f"--videos {' '.join(args.videos)}: no video files there")
    if rows is None:
        found = from_folders(videos, args.labels, args.split, args.seed, args.group)
    else:
        found = from_annotations(rows, videos, args.labels)
    lists = lists_of(found)
    texts = texts_of(found, lists, args.out)
    write(args.out, texts)
    print(report(found, len(videos)), written(args.out, texts, lists, found), sep="\n\n")


if __name__ == "__main__":
    run(main)

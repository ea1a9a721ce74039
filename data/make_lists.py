"""Make the file lists of a data set and its class names, and report what was found and what is missing.

Kinetics-400, from its annotation files and a folder of clips with any of the usual names:

    python data/make_lists.py --videos /data/k400 --annotations train.csv val.csv test.csv

UCF101, HMDB51 and Something-Something v2, from their official split files:

    python data/make_lists.py --videos UCF-101 --annotations classInd.txt trainlist01.txt testlist01.txt --out lists

Your own videos, a folder per class, split at random by --seed (or already split into train/, val/ and test/):

    python data/make_lists.py --videos my_videos --out data/dataset/mine --split 0.8 0.1 0.1

Clips with several classes, from a CSV file with the columns path,labels,split (`clip.mp4,jump;run,train`):

    python data/make_lists.py --videos my_videos --annotations labels.csv --out data/dataset/mine

Beside the lists it writes config.yaml, so that train.py, eval.py and predict.py need no other flag.
"""

import argparse
import json
import os
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file: the repository's root is not on the path
from data.arguments import list_arguments
from data.lists import own_config
from data.lists.annotations import read_annotations
from data.lists.classes import in_order
from data.lists.dealing import SplitClip, joined
from data.lists.folds import MOST_FOLDS, deal_folds, fold_lists, lists_of_folds, notes_on_folds
from data.lists.found import Found, from_annotations, from_folders
from data.lists.labels_csv import from_many, is_of_many, read_many
from data.lists.layout import counted, empty_folders, is_split, named, table
from data.lists.official import is_official, read_official
from data.lists.own_networks import OwnNetwork
from data.lists.soundness import find_broken, find_copies
from data.lists.splits import SPLITS, listed_in, respelled
from reader.class_names import mirror_advice, read_names
from reader.labels import ids_of, text_of
from reader.videos import Video, find_videos
from utils.cli import run
from utils.errors import InputError
from utils.storage.files import unfinished, write_csv, write_stream, write_text
from utils.storage.lock import locked_folder

LISTS = ("train.list", "val.list", "test.list", "infer.list")
LABELS = "kinetics_labels.json"
FOLD_LISTS = tuple(name for fold in fold_lists(MOST_FOLDS) for name in fold)
REPORTS = ("missing.csv", "remarks.csv", "classes.csv", "similar.html")
OUTPUTS = (*LISTS, *FOLD_LISTS, LABELS, own_config.NAME, *REPORTS)
MARK = ".unfinished"  # is there while the files are being written
# The table per class is printed for at most this many classes; classes.csv always has it.
PRINTED_CLASSES = 20


def lists_of(found: Found) -> dict[str, list[SplitClip]]:
    """Return the clips of each list, without empty lists."""
    labelled = [clip for clip in found.clips if clip.label is not None]
    lists = {f"{split}.list": [clip for clip in labelled if clip.split == split] for split in SPLITS}
    # The original's users evaluate on the validation split, because the test split's labels were long withheld.
    lists["test.list"] = lists["test.list"] or lists["val.list"]
    lists["infer.list"] = found.of("test") or found.of("val")
    return {name: lists[name] for name in LISTS if lists[name]}


def writers_of(
    found: Found, lists: dict[str, list[SplitClip]], out: Path, network: OwnNetwork
) -> dict[str, Callable[[Path], None]]:
    """Return a function that writes each file of `out`, by file name."""
    writers = {name: partial(_write_list, clips=clips, labels=name != "infer.list") for name, clips in lists.items()}
    names = json.dumps(found.classes.names, indent=1, ensure_ascii=False) + "\n"
    writers[LABELS] = partial(write_text, text=names)
    numbers = {name: len(clips) for name, clips in lists.items()}
    text = own_config.config_text(out, found.classes, numbers, network, found.many)
    writers[own_config.NAME] = partial(write_text, text=text)
    if found.missing:
        rows = ((r.label, r.youtube_id, r.start, r.end, r.split, why) for r, why in found.missing)
        header = ("label", "youtube_id", "time_start", "time_end", "split", "why")
        writers["missing.csv"] = partial(write_csv, header=header, rows=rows)
    if found.remarks:
        writers["remarks.csv"] = partial(write_csv, header=("where", "remark"), rows=found.remarks)
    writers["classes.csv"] = partial(write_csv, header=("class_id", "label", *SPLITS), rows=_per_class(found))
    return writers


def _write_list(path: Path, clips: Iterable[SplitClip], labels: bool) -> None:
    lines = (f"{clip.path}{text_of(clip.label) if labels else ''}\n" for clip in clips)
    write_stream(path, lambda file: file.writelines(lines))


def _per_class(found: Found) -> list[tuple[object, ...]]:
    """Return (class id, name, clips in train, val, test) of every class."""
    counts = Counter((label, clip.split) for clip in found.clips for label in ids_of(clip.label))
    return [(i, name, *(counts[i, split] for split in SPLITS)) for i, name in enumerate(found.classes.names)]


def report(found: Found, videos: int) -> str:
    """Return the tables for the end of a run: clips per split, and per class if there are few classes."""
    present = [row for row in _per_class(found) if any(row[2:])]
    heading = ["split", *(["annotated", "found", "missing"] if found.annotated else ["found"])]
    rows = [[*heading, "per class: min", "median", "max"]]
    for column, split in enumerate(SPLITS, start=2):
        clips = len(found.of(split))
        numbers = [row[column] for row in present] or [0]
        total = [found.annotated[split], clips, found.annotated[split] - clips] if found.annotated else [clips]
        rows.append([split, *total, min(numbers), f"{statistics.median(numbers):g}", max(numbers)])
    text = table(rows, left={0})
    if len(present) <= PRINTED_CLASSES:
        text += "\n\n" + table([["class_id", "label", *SPLITS], *present], left={1})
    if untrained := [name for _, name, train, *_ in present if not train]:
        text += f"\n\nclasses without a clip for training: {len(untrained)}: {', '.join(untrained[:PRINTED_CLASSES])}"
    if found.grouping:
        text += f"\n\n{found.grouping}"
    unlabelled = sum(clip.label is None for clip in found.clips)
    if unlabelled:
        text += f"\n\ntest clips without a label, only in infer.list: {unlabelled}"
    return "\n".join([f"{text}\n\nvideo files found: {videos}, in no list: {videos - len(found.clips)}", *found.notes])


def write(out: Path, writers: dict[str, Callable[[Path], None]]) -> None:
    """Write the files, each whole or not at all, and remove those that an earlier run left.

    An interrupted run leaves MARK, so that the same command is accepted again.
    """
    for path in unfinished(out, "|".join(map(re.escape, (*OUTPUTS, MARK)))):
        path.unlink()
    write_text(out / MARK, "")
    for name in OUTPUTS:
        if name in writers:
            writers[name](out / name)
        else:
            (out / name).unlink(missing_ok=True)
    (out / MARK).unlink()


def written(
    out: Path, names: Iterable[str], lists: dict[str, list[SplitClip]], found: Found, network: OwnNetwork
) -> str:
    """Return lines about the written files, and the commands to type next."""
    source, clips = found.classes.source, {name: len(clips) for name, clips in lists.items()}
    alphabetical = found.classes.names == in_order(found.classes.names)
    own = "in alphabetical order" if alphabetical else "as before, with new ones after the others"
    order = f"as in {os.path.relpath(source)}" if source else own
    notes = {
        "missing.csv": "annotated clips without a file, with the reason",
        "remarks.csv": "files and annotation lines that were skipped, with the reason",
        "classes.csv": "clips per class",
        "similar.html": "clips that look alike",
        own_config.NAME: "for train.py, eval.py and predict.py",
        LABELS: f"{len(found.classes.names)} classes, numbered {order}",
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
        lines.append(f"train.py downloads {network.about} and starts from them; --pretrain=PATH names others")
    return "\n".join(lines)


def main() -> None:
    args = list_arguments(__doc__)
    with locked_folder(args.out, f"--out {args.out}"):
        existing = [name for name in OUTPUTS if (args.out / name).exists()]
        if existing and not (args.force or args.extend) and not (args.out / MARK).exists():
            exists = f"{existing[0]} exists; --force replaces the lists and config.yaml there"
            raise InputError(f"--out {args.out}: {exists}")
        if args.extend and "train.list" not in existing:
            raise InputError(f"--extend: {args.out} has no train.list to extend: leave --extend out")
        make_lists(args)


def make_lists(args: argparse.Namespace) -> None:
    """Write the lists and reports, in a folder that is locked for this run."""
    rows, official, before = None, None, {}
    many = bool(args.annotations) and not is_official(args.annotations) and is_of_many(args.annotations)
    if many and args.folds:
        raise InputError(f"--folds {args.folds}: leave it out: folds need one class per clip, but these have several")
    with nullcontext() if args.extend else suppress(InputError):  # lists that are to be replaced may be damaged
        before = listed_in(args.out)
    numbered = read_names(str(args.out / LABELS), "--extend") if args.extend else []
    if args.annotations and is_official(args.annotations):
        rows, official = read_official(args.annotations)
        args.labels = args.labels or (None if official else "own")
    elif args.annotations:
        rows = (read_many if many else read_annotations)(args.annotations)
    if rows == []:
        raise InputError(f"--annotations {' '.join(args.annotations)}: expected clips, found no line of one")
    # The bar is only for terminals: 300,000 files on a network disk take minutes.
    others: Counter[str] = Counter()
    shown = {"unit": " files", "leave": False, "disable": None, "delay": 1}
    videos = list(tqdm(find_videos(args.videos, others), "finding videos", **shown))
    if not videos:
        no_others = f"; other files: {counted(others)}" if others else ""
        raise InputError(f"--videos {' '.join(args.videos)}: no video files there{no_others}")
    presplit = rows is None and is_split(videos)  # may raise, so it comes before each video is opened, for minutes
    before = respelled(before, videos)
    bad = {video.path: "an empty file" for video in videos if video.empty}
    broken = find_broken([video.path for video in videos if not video.empty])
    bad |= {path: f"cannot be opened: {reason}" for path, reason in broken.items()}
    from data.lists.similar import Alike, read_pictures  # imports NumPy

    looked_at = [v.path for v in videos if v.path not in bad] if args.similar else []
    alike = Alike(read_pictures(looked_at) if looked_at else {}, args.similar)
    if rows is None:
        found = from_folders(
            videos, bad, args.labels, args.split, args.seed, args.group,
            before if args.extend else {}, alike.groups, numbered,
        )  # fmt: skip
    elif many:
        found = from_many(rows, videos, bad, args.labels)
    else:
        found = from_annotations(rows, videos, bad, args.labels, official)
    found.notes += notes_on_lists(before, found.clips, rows is None and not presplit)
    if numbered and (new := found.classes.names[len(numbered) :]):
        found.notes.append(f"new classes, numbered after the {len(numbered)} old ones: {len(new)}: {named(new)}")
    found.notes += notes_on(args, found, videos, broken, others)
    splits = {clip.path: clip.split for clip in found.clips}
    found.notes += alike.notes(splits, or_else=", or --group names them")
    network, lists = own_config.network_for(found.classes, args.light), lists_of(found)
    if args.folds:
        alone = ([clip] for clip in found.clips if clip.label is not None)
        recordings = found.recordings or joined(alone, alike.groups)
        folds = deal_folds(recordings, args.folds, args.seed)
        found.notes += notes_on_folds(folds, found.classes.names, len(recordings))
        lists |= lists_of_folds(folds)
    writers = writers_of(found, lists, args.out, network)
    if alike.groups:
        writers["similar.html"] = alike.writer(splits)
    write(args.out, writers)
    print(report(found, len(videos)), written(args.out, writers, lists, found, network), sep="\n\n")


def notes_on(
    args: argparse.Namespace, found: Found, videos: list[Video], broken: Mapping[str, str], others: Counter[str]
) -> list[str]:
    """Return lines about possible mistakes, and add remarks on their files to `found`."""
    notes = [f"skipped files that are not videos: {others.total()}: {counted(others)}"] if others else []
    if broken:
        notes.append(f"video files that cannot be opened: {len(broken)}: {named(broken)}; remarks.csv says why")
    if not args.annotations and (empty := empty_folders(args.videos, videos, is_split(videos))):
        notes.append(f"class folders without a video: {len(empty)}: {named(empty)}")
        found.remarks += [(folder, "a class folder without a video") for folder in empty]
    if len(labels := {clip.label for clip in found.clips}) == 1 and None not in labels and not found.many:
        notes.append(f"there is only one class, {found.classes.names[labels.pop()]}: any network is always right")
    notes += mirror_advice(found.classes.names)
    return notes + notes_on_copies(found)


def notes_on_lists(before: Mapping[str, str], clips: Sequence[SplitClip], may_extend: bool) -> list[str]:
    """Return a line about changes since the old lists. before: their splits by path. may_extend: suggest --extend."""
    if not before:
        return []
    splits = {clip.path: clip.split for clip in clips}
    moved = sum(splits.get(path, split) != split for path, split in before.items())
    gone = sum(path not in splits for path in before)
    line = f"clips in the old lists: {len(before)}; new: {len(splits.keys() - before.keys())}, gone: {gone}"
    hint = "; --extend keeps each in its list" if moved and may_extend else ""
    return [f"{line}, now in another split: {moved}{hint}"]


def notes_on_copies(found: Found) -> list[str]:
    """Return a line about clips with the same bytes, which stay in the lists, and add a remark on each to `found`."""
    clips, number, splits, labels = {clip.path: clip for clip in found.clips}, 0, 0, 0
    for first, *copies in find_copies(list(clips)):
        number += len(copies)
        splits += any(clips[path].split != clips[first].split for path in copies)
        labels += any(clips[path].label != clips[first].label for path in copies)
        for path in copies:
            found.remarks.append((path, f"the same bytes as {first}; both are listed"))
    if not number:
        return []
    what = f"clips with the same bytes as another one: {number}"
    line = f"{what}; of these files {splits} are in two splits, {labels} in two classes; remarks.csv names them"
    several = "; for clips of several classes, give --annotations a CSV file with the columns path,labels,split"
    return [line + several * (labels > 0 and not found.many)]


if __name__ == "__main__":
    run(main)

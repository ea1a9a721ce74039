"""Find the clips and their classes by annotations or by folders, and remark on the files that are left out."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from data.lists.annotations import Annotation, drop_repeated, match
from data.lists.classes import Classes, choose_classes
from data.lists.dealing import NONE_HELD, SplitClip, find_recordings, joined, split_clips, split_recordings
from data.lists.layout import check_level, check_names, is_split
from data.lists.splits import split_of
from reader.videos import Video
from utils.errors import InputError


@dataclass
class Found:
    """The clips to list, and remarks on the files that are left out."""

    clips: list[SplitClip]
    classes: Classes
    annotated: Counter[str] | None = None  # per split; None without annotations
    missing: list[tuple[Annotation, str]] = field(default_factory=list)
    remarks: list[tuple[str, str]] = field(default_factory=list)  # (file or file:line, what about it)
    grouping: str = ""  # a line about what --group found
    recordings: list[list[SplitClip]] = field(
        default_factory=list
    )  # the clips by recording, if --group or --similar found any
    notes: list[str] = field(default_factory=list)  # lines after the report
    many: bool = False  # whether a clip's label holds the ids of all its classes

    def of(self, split: str) -> list[SplitClip]:
        return [clip for clip in self.clips if clip.split == split]


def from_annotations(
    rows: list[Annotation],
    videos: list[Video],
    bad: Mapping[str, str],
    labels: str | None,
    official: Classes | None = None,
) -> Found:
    """Return the clips of annotated videos.

    bad: why videos cannot be listed, by path. official: how the classes are numbered unless `labels` says otherwise.
    Raises InputError if no clip is found, or a training clip has no class.
    """
    rows, remarks = drop_repeated(rows)
    classes = official if official and not labels else choose_classes((row.label for row in rows if row.label), labels)
    found, missing, more = match(rows, videos, bad)
    if not found:
        raise InputError(
            f"none of {len(rows)} annotated clips is among {len(videos)} video files: "
            f"expected names such as {rows[0].file_name}.mp4, found {os.path.basename(videos[0].path)}"
        )
    clips = []
    for number, video in found.items():
        row, folder = rows[number], _class_folders(video, classes)
        label = classes.find(row.label) if row.label else folder
        if folder is not None and folder != label:
            more.append((video.path, f"is in the folder of {classes.names[folder]}, but {row.where} says {row.label}"))
        if label is None and row.split != "test":
            raise InputError(f"{row.where}: expected a label, because {video.path} is not in a class folder")
        clips.append(SplitClip(video.path, row.split, label))
    lacking = [(rows[number], reason) for number, reason in missing.items()]
    return Found(clips, classes, Counter(row.split for row in rows), lacking, remarks + more)


def _class_folders(video: Video, classes: Classes) -> int | None:
    ids = (classes.find(name) for name in reversed(video.folders))
    return next((i for i in ids if i is not None), None)


def from_folders(
    videos: list[Video],
    bad: Mapping[str, str],
    labels: str | None,
    shares: Sequence[float] | None,
    split_seed: int,
    recording: re.Pattern | None = None,
    held: Mapping[str, str] = NONE_HELD,
    alike: Sequence[Sequence[str]] = (),
    before: Sequence[str] = (),
) -> Found:
    """Return the clips of a folder per class, split by folders train/, val/ and test/ or else by shares and seed.

    bad: why videos cannot be listed, by path. recording: finds the name of a clip's recording; clips of one recording
    go to one split. held: the split of each path that is in a list already and stays there. alike: groups of paths
    that go to one split. before: the names of classes that keep their numbers.

    Raises InputError for --split, --group or --extend if the folders are split already, for folders without videos of a
    class, with two possible meanings or with a name that is not text, and if `recording` finds no name.
    """
    presplit = is_split(videos)
    if presplit and (shares or recording or held):
        flag = "--split" if shares else "--group" if recording else "--extend"
        first = next(video.path for video in videos if video.folders)
        split = f"folders train, val and test split the videos already, such as {first}"
        raise InputError(f"{flag}: leave it out: {split}")
    depth = 1 if presplit else 0
    placed = [video for video in videos if len(video.folders) > depth]
    good = [video for video in placed if video.path not in bad]
    others = (video for video in videos if video.path in bad or len(video.folders) <= depth)
    remarks = [(video.path, bad.get(video.path, "not in a class folder")) for video in others]
    if placed and not good:
        path = placed[0].path
        raise InputError(f"none of {len(placed)} videos in class folders can be listed; {path}: {bad[path]}")
    if not good:
        raise InputError(f"expected videos in a folder per class, found {videos[0].path}; or give --annotations")
    check_level(placed, depth)
    check_names(placed, depth)
    classes = choose_classes((video.folders[depth] for video in good), labels, before)
    shares, grouping, together = shares or (0.8, 0.1, 0.1), "", []
    if presplit:
        clips = [SplitClip(v.path, split_of(v.folders[0]) or "", classes.find(v.folders[1])) for v in good]
    elif recording or alike:
        recordings, alone = find_recordings(good, recording) if recording else ([[video] for video in good], 0)
        recordings = joined(recordings, alike)
        clips = split_recordings(recordings, classes, shares, split_seed, held)
        of_path = {clip.path: clip for clip in clips}
        together = [[of_path[video.path] for video in videos] for videos in recordings]
        if recording:
            grouping = f"recordings, each in one split: {len(recordings)}; videos without a match of --group: {alone}"
    else:
        clips = split_clips(good, classes, shares, split_seed, held)
    return Found(clips, classes, remarks=remarks, grouping=grouping, recordings=together)

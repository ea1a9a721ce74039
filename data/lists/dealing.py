"""Split clips into training, validation and test lists by shares and a seed, each recording in one split."""

import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import TypeVar

from data.lists.classes import Classes
from data.lists.splits import SPLITS
from reader.labels import Label
from reader.videos import Video
from utils.errors import InputError

# Classes with more recordings than this need no exchanges of two: moving single recordings is enough.
EXCHANGED = 40
# Deals that are tried, of which the best is taken. 20 found the optimum for each of 150 small sets.
MOST_DEALS = 20
OfPath = TypeVar("OfPath", "SplitClip", Video)
NONE_HELD: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class SplitClip:
    """A video with its split and its class id, or None if the class is unknown."""

    path: str
    split: str
    label: Label | None


def split_counts(number: int, shares: Sequence[float], held: Sequence[int] = (0, 0, 0)) -> list[int]:
    """Return how many clips of a class go to train, val and test: first one each, then the rest by shares.

    held: the number of clips that each split already has.
    """
    counts, total = list(held), number + sum(held)
    for _ in range(number):
        empty = [i for i in range(3) if shares[i] and not counts[i]]
        counts[empty[0] if empty else max(range(3), key=lambda i: total * shares[i] - counts[i])] += 1
    return [count - old for count, old in zip(counts, held)]


def split_clips(
    videos: Iterable[Video], classes: Classes, shares: Sequence[float], seed: int, held: Mapping[str, str] = NONE_HELD
) -> list[SplitClip]:
    """Return the clips with random splits. The split of a class depends only on the seed and its own files.

    held: the split of each path that must stay where it is.
    """
    of_class: dict[int | None, list[str]] = defaultdict(list)
    for video in videos:
        of_class[classes.find(video.folders[0])].append(video.path)
    clips = []
    for label, paths in sorted(of_class.items()):
        random.Random(f"{seed} {classes.names[label]}").shuffle(paths)
        stay = {split: [path for path in paths if held.get(path) == split] for split in SPLITS}
        todo = iter([path for path in paths if path not in held])
        counts = split_counts(len(paths) - sum(map(len, stay.values())), shares, list(map(len, stay.values())))
        for split, number in zip(SPLITS, counts):
            dealt = sorted(stay[split] + [next(todo) for _ in range(number)])
            clips += [SplitClip(path, split, label) for path in dealt]
    return clips


def find_recordings(videos: Sequence[Video], expression: re.Pattern) -> tuple[list[list[Video]], int]:
    """Group videos by the recording they are cut from; also return how many the expression does not match.

    A video that does not match is a recording by itself. The expression's first group names the recording, or the
    whole match if it has no group. It is searched in the path below the class's folder.

    Raises InputError if it matches no video.
    """
    recordings: dict[tuple[bool, str], list[Video]] = defaultdict(list)
    for video in videos:
        found = expression.search(_below_class(video))
        name = found and (found[1] if expression.groups else found[0])
        recordings[bool(name), name or video.path].append(video)
    alone = sum(not named for named, _ in recordings)
    if alone == len(videos):
        paths = f"{alone} paths below the class folders, such as {_below_class(videos[0])}"
        raise InputError(f"--group {expression.pattern}: matches none of the {paths}")
    return list(recordings.values()), alone


def joined(recordings: Iterable[Sequence[OfPath]], groups: Iterable[Sequence[str]]) -> list[list[OfPath]]:
    """Return the recordings, with those merged that have paths in the same group."""
    of_path = {path: number for number, group in enumerate(groups) for path in group}
    homes: dict[int, list[OfPath]] = {}  # group -> the recording it belongs to
    found: dict[int, list[OfPath]] = {}
    for videos in recordings:
        home = list(videos)
        for video in videos:
            other = homes.get(of_path.get(video.path, -1))
            if other is not None and found.pop(id(other), None):
                home += other
        found[id(home)] = home
        homes |= {of_path[video.path]: home for video in home if video.path in of_path}
    return list(found.values())


def _below_class(video: Video) -> str:
    return "/".join((*video.folders[1:], os.path.basename(video.path)))


def split_recordings(
    recordings: Sequence[Sequence[Video]],
    classes: Classes,
    shares: Sequence[float],
    seed: int,
    held: Mapping[str, str] = NONE_HELD,
) -> list[SplitClip]:
    """Return the clips with their splits. All clips of a recording get one split, whatever their classes.

    The same seed and files give the same splits. held: the split of each path that must stay where it is; the other
    clips of its recording join it.
    """
    order = sorted(recordings, key=lambda videos: videos[0].path)
    chance, best = random.Random(seed), None
    for _ in range(min(MOST_DEALS, max(1, 400 // len(order)))):
        chance.shuffle(order)
        of_recordings = [Counter(classes.find(video.folders[0]) for video in videos) for videos in order]
        deal = _Deal(of_recordings, shares, [_held_split(videos, held) for videos in order])
        if best is None or deal.badness() < best[0]:
            best = deal.badness(), list(zip(order, deal.splits))
    clips = [
        SplitClip(video.path, held.get(video.path, SPLITS[split]), classes.find(video.folders[0]))
        for videos, split in best[1]
        for video in videos
    ]
    return sorted(clips, key=lambda clip: (clip.label, clip.path))


def _held_split(videos: Sequence[Video], held: Mapping[str, str]) -> int | None:
    """Return the position of the split that already holds most of a recording's clips, or None."""
    counts = Counter(SPLITS.index(held[video.path]) for video in videos if video.path in held)
    return counts.most_common(1)[0][0] if counts else None


class _Deal:
    """Assign recordings, given as clips per class, to splits; `splits` holds the position of each recording's split.

    Every class gets clips for training first, then for validation, then for testing, if it has enough recordings.
    Then the numbers of clips should be near `split_counts`. As long as it helps, one recording is moved or two are
    exchanged. The result depends on the order of the recordings: the optimum would be a knapsack problem.
    """

    def __init__(self, recordings: Sequence[Counter[int]], shares: Sequence[float], held: Sequence[int | None]):
        """held: the split of each recording that must stay where it is."""
        self._recordings, self._free = recordings, [split is None for split in held]
        numbers: Counter[int] = Counter()
        for recording in recordings:
            numbers.update(recording)
        self._wanted = {label: split_counts(number, shares) for label, number in numbers.items()}
        self._counts = {label: [0, 0, 0] for label in numbers}
        self.splits = [split or 0 for split in held]  # the free ones start in training
        for recording, split in zip(recordings, self.splits):
            self._add(recording, split, 1)
        open_splits = [split for split in range(3) if shares[split]]
        while sum([self._keeps(change) for change in self._changes(open_splits)]):
            pass

    def _add(self, recording: Counter[int], split: int, sign: int) -> None:
        for label, number in recording.items():
            self._counts[label][split] += sign * number

    def _changes(self, open_splits: Sequence[int]) -> Iterator[dict[int, int]]:
        """Yield every change {recording: new split} worth trying."""
        of_class: dict[int, list[int]] = defaultdict(list)
        for i in (i for i, free in enumerate(self._free) if free):
            for label in self._recordings[i]:
                of_class[label].append(i)
            for split in open_splits:
                yield {i: split}
        for members in of_class.values():
            if len(members) <= EXCHANGED:
                for i, j in combinations(members, 2):
                    yield {i: self.splits[j], j: self.splits[i]}

    def _keeps(self, change: dict[int, int]) -> bool:
        """Apply a change; undo it and return False if it makes the deal no better."""
        labels = set().union(*(self._recordings[i] for i in change))
        before, old = self.badness(labels), {i: self.splits[i] for i in change}
        self._apply(change)
        if self.badness(labels) < before:
            return True
        self._apply(old)
        return False

    def _apply(self, change: dict[int, int]) -> None:
        for i, split in change.items():
            self._add(self._recordings[i], self.splits[i], -1)
            self._add(self._recordings[i], split, 1)
            self.splits[i] = split

    def badness(self, labels: Iterable[int] | None = None) -> tuple[int, ...]:
        """Return (classes that lack a clip for train, val and test, the squared error of the counts).

        labels: the classes to count; None for all.
        """
        pairs = [(self._counts[label], self._wanted[label]) for label in labels or self._wanted]
        empty = [sum(want[i] > 0 and not count[i] for count, want in pairs) for i in range(3)]
        return *empty, sum((count[i] - want[i]) ** 2 for count, want in pairs for i in range(3))

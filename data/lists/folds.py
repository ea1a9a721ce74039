"""Write lists for cross-validation: each clip is tested by a network that has not seen its recording."""

import random
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from data.lists.dealing import SplitClip
from utils.errors import InputError

MOST_FOLDS = 20


class FoldLists(NamedTuple):
    """The names of a fold's lists."""

    train: str
    test: str


def fold_lists(number: int) -> list[FoldLists]:
    """Return the names of the lists of `number` folds."""
    return [FoldLists(f"fold{k}.train.list", f"fold{k}.test.list") for k in range(1, number + 1)]


def deal_folds(recordings: Sequence[Sequence[SplitClip]], number: int, seed: int) -> list[list[SplitClip]]:
    """Return the clips of each fold, with each recording in one fold and each class spread as evenly as possible.

    The same seed and clips give the same folds. Recordings with many clips of one class are dealt first. Each goes to
    the fold where it adds least to the sum of squared clips per class and fold, and on a tie to the fold with the
    fewest clips. If every recording is a single clip, the folds' counts of a class differ by at most one.

    Raises InputError if there are fewer recordings than folds.
    """
    if len(recordings) < number:
        raise InputError(f"--folds {number}: expected no more folds than recordings, which are {len(recordings)}")
    order = sorted(recordings, key=lambda clips: clips[0].path)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda clips: sum(n * n for n in Counter(clip.label for clip in clips).values()), reverse=True)
    counts: list[Counter[int | None]] = [Counter() for _ in range(number)]
    folds: list[list[SplitClip]] = [[] for _ in range(number)]
    for clips in order:
        labels = Counter(clip.label for clip in clips)
        costs = [(sum(n * count[label] for label, n in labels.items()), count.total()) for count in counts]
        best = costs.index(min(costs))
        counts[best].update(labels)
        folds[best] += clips
    return [sorted(fold, key=lambda clip: (clip.label, clip.path)) for fold in folds]


def lists_of_folds(folds: Sequence[Sequence[SplitClip]]) -> dict[str, list[SplitClip]]:
    """Return the clips of each list by its name: one fold for testing, all others for training."""
    lists = {}
    for k, names in enumerate(fold_lists(len(folds))):
        lists[names.train] = [clip for other in folds[:k] + folds[k + 1 :] for clip in other]
        lists[names.test] = list(folds[k])
    return lists


def notes_on_folds(folds: Sequence[Sequence[SplitClip]], names: Sequence[str], recordings: int) -> list[str]:
    """Return lines about the sizes of the folds, and about classes that are missing in some folds."""
    sizes = [len(fold) for fold in folds]
    clips = f"{min(sizes)} to {max(sizes)} clips" if min(sizes) < max(sizes) else f"{sizes[0]} clips each"
    lines = [f"{len(folds)} folds of all {sum(sizes)} clips, from {recordings} recordings: {clips}"]
    found: dict[int | None, set[int]] = {}
    for k, fold in enumerate(folds):
        for clip in fold:
            found.setdefault(clip.label, set()).add(k)
    if lacking := [names[label] for label, where in sorted(found.items()) if len(where) < len(folds)]:
        alone = sum(len(where) == 1 for where in found.values())
        shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
        untrained = f"classes in one fold only, which are tested but not trained: {alone}"
        lines.append(f"classes that some folds do not test: {len(lacking)}: {shown}; {untrained}")
    return lines

"""Find clips of the same recording by comparing thumbnails of three frames of each clip."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from reader.apart import VideoProcess
from reader.clip import ClipSpec
from reader.dataset import read_clip
from reader.integrity import VideoError
from utils.log import progress_bar
from utils.processes.limits import available_cores
from utils.processes.parallel import ask_all

SMALL, SHOWN = 16, 120  # sides of thumbnails in pixels: to compare, to show on the page
FRAMES = 3
# Up to BLOCK clips are compared pair by pair. More clips are ordered by random projections, TABLES times, so that
# similar clips end up near each other. Two clips with similarity 0.95 meet in one of three or four orders; 1 pair in
# 100 is missed.
BLOCK, TABLES = 512, 16
ROUNDING = 1e-4
FLAT = 2.0  # if grey values have a smaller standard deviation, the frames show nothing to compare
MOST_PAIRS = 40  # on the page


def small_pictures(path: str, side: int, how: Mapping[str, str] | None = None, frames: int | None = None) -> np.ndarray:
    """Return a video's thumbnails, uint8 [FRAMES, side, side, 3]. how, frames: see ClipSpec, `read_clip`.

    Raises VideoError.
    """
    return read_clip(ClipSpec(FRAMES, 1, side, side, **(how or {})), path, frames=frames)[0]


def how_of(spec: ClipSpec) -> dict[str, str]:
    """Return the fields of a spec that say how frames are stored."""
    return {"frame_format": spec.frame_format, "filename_tmpl": spec.filename_tmpl}


def grey(pictures: np.ndarray) -> np.ndarray:
    """Return thumbnails in grey, for comparison, uint8 [FRAMES, side, side]."""
    return pictures.mean(axis=3).astype(np.uint8)


def read_pictures(
    paths: Sequence[str],
    side: int = SMALL,
    how: Mapping[str, str] | None = None,
    frames: Callable[[str], int | None] = lambda path: None,
) -> dict[str, np.ndarray]:
    """Return the thumbnails of each readable video, by path. Processes read them, because a file may crash one."""

    def ask(process: VideoProcess, path: str) -> tuple[str, np.ndarray | None]:
        try:
            return path, process.answer(path, side, how, frames(path))
        except VideoError:
            return path, None  # data/check.py reports the reason

    found = {}
    children = [VideoProcess(small_pictures) for _ in range(min(available_cores(), len(paths)))]
    with closing(ask_all(children, ask, paths)) as answers, progress_bar(len(paths), "looking for copies") as bar:
        for path, pictures in answers:
            if pictures is not None:
                found[path] = grey(pictures) if side == SMALL else pictures
            bar.update()
    return found


def vectors_of(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return grey thumbnails as float32 [N, D] of length 1: a dot product is a similarity, 1 for equal thumbnails.

    Thumbnails that show nothing become 0, so they are similar to no other.
    """
    vectors = np.stack([p.reshape(-1) for p in pictures]).astype(np.float32)
    vectors -= vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    flat = lengths < FLAT * math.sqrt(vectors.shape[1])
    vectors /= np.where(flat, 1, lengths)
    vectors[flat[:, 0]] = 0
    return vectors


def groups_of(vectors: np.ndarray, threshold: float) -> list[list[int]]:
    """Return groups of two or more positions that are connected by similarities of at least `threshold`."""
    parent = list(range(len(vectors)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for block in _blocks(vectors):
        near = vectors[block] @ vectors[block].T >= threshold - ROUNDING
        for i, first in enumerate(near.argmax(axis=1).tolist()):
            if near[i, first] and first != i:
                parent[root(int(block[i]))] = root(int(block[first]))
        # Two vectors with different first neighbours may still be connected by this one.
        for i in np.flatnonzero(near.sum(axis=1) > 1).tolist():
            for j in np.unique(near.argmax(axis=1)[near[i]]).tolist():
                parent[root(int(block[i]))] = root(int(block[j]))
    groups = defaultdict(list)
    for i in range(len(vectors)):
        groups[root(i)].append(i)
    return [members for members in groups.values() if len(members) > 1]


def _blocks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    """Yield positions of at most BLOCK vectors at a time. Similar vectors are together in at least one block."""
    number = len(vectors)
    if number <= BLOCK:
        yield np.arange(number)
        return
    random, bits = np.random.default_rng(0), math.ceil(math.log2(2 * number / BLOCK))
    for _ in range(TABLES):
        sides = vectors @ random.standard_normal((vectors.shape[1], bits + 1)).astype(np.float32)
        # The median makes halves of the same size, whatever the vectors are.
        code = (sides[:, :bits] > np.median(sides[:, :bits], axis=0)) @ (1 << np.arange(bits))
        order = np.lexsort((sides[:, bits], code))
        for start in range(0, number - BLOCK // 2, BLOCK // 2):
            yield order[start : start + BLOCK]


class Alike:
    """Groups of clips that look alike, and the lines and the page that report them."""

    def __init__(self, pictures: Mapping[str, np.ndarray], threshold: float):
        """pictures: the thumbnails of each path, see `grey`. threshold: the least similarity."""
        self.threshold, self.too_many = threshold, 0
        self._names = list(pictures)
        self._vectors = vectors_of(list(pictures.values())) if pictures else np.zeros((0, 1), np.float32)
        found = groups_of(self._vectors, threshold) if pictures else []
        # Clips of a fixed camera all look alike, which says nothing about recordings.
        self.too_many = max((len(group) for group in found if 2 * len(group) > len(pictures)), default=0)
        self._groups = [group for group in found if len(group) != self.too_many]
        self.groups = [[self._names[i] for i in group] for group in self._groups]

    def pairs(self, splits: Mapping[str, str]) -> Iterator[tuple[float, str, str]]:
        """Yield (similarity, path, earlier path) for each path that is similar to an earlier one, in order.

        The earlier path is the most similar one, preferably one in another split. splits: the split of each path.
        """
        ids: dict[str, int] = {}
        sides = np.array([ids.setdefault(splits.get(name, ""), len(ids)) for name in self._names])
        grouped = np.zeros(len(self._names), bool)
        grouped[[i for group in self._groups for i in group]] = True
        best, partners = np.zeros(len(self._names), np.float32), np.zeros(len(self._names), int)
        for block in _blocks(self._vectors) if self._groups else ():
            near = self._vectors[block] @ self._vectors[block].T
            earlier = (block < block[:, None]) & (near >= self.threshold - ROUNDING)
            ranks = np.where(earlier, near + 2 * (sides[block] != sides[block][:, None]), 0)
            firsts = ranks.argmax(axis=1)
            more = (ranks[np.arange(len(block)), firsts] > best[block]) & grouped[block]
            best[block[more]], partners[block[more]] = ranks[more, firsts[more]], block[firsts[more]]
        for i in np.flatnonzero(best).tolist():
            across = sides[i] != sides[partners[i]]
            yield float(best[i]) - 2 * across, self._names[i], self._names[partners[i]]

    def notes(self, splits: Mapping[str, str], page: str = "similar.html", or_else: str = "") -> list[str]:
        """Return lines on the groups. splits: the split of each path. or_else: more advice if too many look alike."""
        flag = f"--similar={self.threshold:g}"
        lines = []
        if self.too_many:
            lines.append(
                f"{self.too_many} clips look alike at {flag}, as from a fixed camera: not treated as one "
                f"recording; a larger --similar may tell recordings apart{or_else}"
            )
        if self.groups:
            both = sum(len({splits[path] for path in group if path in splits}) > 1 for group in self.groups)
            where = f"{both} of them in several lists" if both else "each in one list"
            number = sum(map(len, self.groups))
            what = f"clips that look alike at {flag}: {number} in {len(self.groups)} groups"
            lines.append(f"{what}, {where}: {page}")
        return lines

    def writer(
        self, splits: Mapping[str, str], read: Callable[[Sequence[str], int], Mapping[str, np.ndarray]] = read_pictures
    ) -> Callable[[Path], None]:
        """Return a function that writes the page: pairs across splits first, then the least similar pairs."""
        from results.pages.page import never_fatal, picture, write_page  # slow to import, and most lists need no page

        @never_fatal
        def write(path: Path) -> None:
            pairs = sorted(self.pairs(splits), key=lambda pair: (splits.get(pair[1]) == splits.get(pair[2]), pair[0]))
            shown = pairs[:MOST_PAIRS]
            pictures = read(sorted({path for pair in shown for path in pair[1:]}), SHOWN)
            strips = {path: [picture(frame) for frame in frames] for path, frames in pictures.items()}
            facts = {"least similarity": f"{self.threshold:g}", "groups": len(self.groups)}
            across = sum(splits.get(one) != splits.get(other) for _, one, other in pairs)
            shared = {"strips": strips, "splits": splits, "facts": facts}
            write_page(path, "similar.html", pairs=shown, number=len(pairs), across=across, **shared)

        return write

"""The page of a prediction: frames with the classes they were given, and what was named over the whole list."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from inference.label_kinds import ONE, LabelKind
from metrics.sums import Unreadable
from results.pages.page import Frames, never_fatal, pictures_of, write_page
from results.pages.timeline import strip_of

# What a page holds at most: it stays below 10 MB for any number of videos.
MOST_VIDEOS, MOST_NAMED, MOST_BARS, MOST_UNREADABLE, MOST_HEAT_MAPS = 48, 20, 5, 100, 3


class PredictionSums:
    """Adds up the rows of a prediction, each {"position", "video", "predictions": [{"class_id", "label",
    "probability"}, ...]} or {"position", "video", "error"}."""

    def __init__(self, videos: int, unreadable: int, kind: LabelKind = ONE):
        """So many videos, drawn at random but always the same, and so many of the unreadable ones are kept."""
        self._answer = kind.answer
        self.videos = 0
        self.named: Counter[str] = Counter()
        self.confidence = [0] * 10  # videos by the probability of their named class, in tenths
        self.unreadable = Unreadable(unreadable)
        self._random, self._kept, self._sample = random.Random(0), videos, []

    def add(self, row: dict) -> None:
        if "error" in row:
            self.unreadable.add(row)
            return
        self.videos += 1
        best = row["predictions"][0]
        self.named.update(found["label"] for found in self._answer(row["predictions"]))
        self.confidence[min(int(10 * best["probability"]), 9)] += 1
        if len(self._sample) < self._kept:  # reservoir sampling: each video has the same chance
            self._sample.append(row)
        elif (place := self._random.randrange(self.videos)) < self._kept:
            self._sample[place] = row

    @property
    def sample(self) -> list[dict]:
        """The rows that were kept, in the order of the list."""
        return sorted(self._sample, key=lambda row: row["position"])


def sums_of(rows: Iterable[dict], kind: LabelKind = ONE) -> PredictionSums:
    """What a page needs of the rows; its `sample` are those of the videos that are shown."""
    sums = PredictionSums(MOST_VIDEOS, MOST_UNREADABLE, kind)
    for row in rows:
        sums.add(row)
    return sums


@never_fatal
def write_prediction_page(
    path: Path,
    rows: Iterable[dict],
    facts: Mapping[str, object],
    frames: Frames,
    timelines: Mapping[int, Sequence[dict]] = MappingProxyType({}),
    heat_maps: Frames = lambda positions: (),
    kind: LabelKind = ONE,
) -> None:
    """Writes the page; a failure is one line on the screen.

    rows: what `PredictionSums` takes, one per video, gone through once. facts: lines about the run. frames: what the
    network saw; asked once, for the videos that are shown. timelines: by position, see timeline.py. heat_maps: as
    frames.
    """
    sums = sums_of(rows, kind)
    sample = sums.sample
    positions = [row["position"] for row in sample]
    write_page(
        path,
        "prediction.html",
        sums=sums,
        facts=facts,
        sample=sample,
        bars=MOST_BARS,
        named=sorted(sums.named.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMED],
        pictures=pictures_of(frames, positions),
        heat_maps={
            position: few[:: -(-len(few) // MOST_HEAT_MAPS)]
            for position, few in pictures_of(heat_maps, positions).items()
        },
        timelines={position: strip_of(timelines[position], kind) for position in positions if position in timelines},
    )

"""The page of a list that was predicted: what was named and how surely, one table of all videos, frames of a few."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from metrics.sums import UNREADABLE_KEPT, Unreadable
from results.pages.page import Frames, never_fatal, pictures_of, shorten, write_page
from results.pages.palette import Palette
from results.pages.timeline import stretches_of, strip_of
from results.pages.video_rows import first_rows, millionths, table_of

# Videos whose frames are on the page, half of them the least sure ones; of each at most so many bars and heat maps.
MOST_PICTURED, MOST_BARS, MOST_HEAT_MAPS = 36, 5, 3
# Classes in the table of classes; the page stays below 10 MB.
MOST_CLASSES = 2000


class ListSums:
    """What a page needs of the rows of a list, gone through once.

    Rows are {"position", "video", "predictions": [{"class_id", "label", "probability"}, ...]} or {"position", "video",
    "error"}.
    """

    def __init__(self, rows: Iterable[dict]):
        """Add up the rows; keep the least sure ones."""
        self.videos = 0
        self.named: Counter[int] = Counter()
        self.labels: dict[int, str] = {}
        self.tenths = [0] * 10  # videos by the probability of their named class
        self.unreadable = Unreadable(UNREADABLE_KEPT)
        self._random, self._drawn = random.Random(0), []
        self.rows = first_rows(self._counted(rows), lambda row: (row["predictions"][0]["probability"], row["position"]))

    def _counted(self, rows: Iterable[dict]) -> Iterator[dict]:
        for row in rows:
            if "error" in row:
                self.unreadable.add(row)
                continue
            self.videos += 1
            best = row["predictions"][0]
            self.named[best["class_id"]] += 1
            self.labels |= {p["class_id"]: p["label"] for p in row["predictions"]}
            self.tenths[min(int(10 * best["probability"]), 9)] += 1
            if len(self._drawn) < MOST_PICTURED:  # reservoir sampling: each video has the same chance
                self._drawn.append(row)
            elif (place := self._random.randrange(self.videos)) < MOST_PICTURED:
                self._drawn[place] = row
            yield row

    @property
    def pictured(self) -> list[dict]:
        """Return the rows whose frames are shown, the least sure first: half are the least sure, half drawn at random.

        Of the same rows always the same.
        """
        rows = {row["position"]: row for row in self.rows[: MOST_PICTURED // 2]}
        for row in self._drawn:
            if len(rows) < MOST_PICTURED:
                rows[row["position"]] = row
        return sorted(rows.values(), key=lambda row: (row["predictions"][0]["probability"], row["position"]))


@never_fatal
def write_prediction_page(
    path: Path,
    rows: Iterable[dict],
    facts: Mapping[str, object],
    frames: Frames,
    timelines: Mapping[int, Sequence[dict]] = MappingProxyType({}),
    heat_maps: Frames = lambda positions: (),
    strongest: Mapping[int, float | None] = MappingProxyType({}),
    beside: Path | None = None,
) -> None:
    """Write the page; a failure is one line on the screen.

    rows: what `ListSums` takes, gone through once. facts: lines about the run. frames: what the network saw; asked
    once, for the videos whose frames are shown. timelines: by position, see timeline.py. heat_maps: as frames;
    strongest: the highest value of each video's, by position. beside: the folder that the page will lie in, from which
    videos are linked; None: without links.
    """
    sums = ListSums(rows)
    pictured = sums.pictured
    positions = [row["position"] for row in pictured]
    named = {stretch.class_id: stretch.label for k in positions for stretch in stretches_of(timelines.get(k, ()))}
    palette = Palette(dict.fromkeys(named, 0) | sums.named, named | sums.labels)
    ids = sorted(sums.labels)
    place = {k: i for i, k in enumerate(ids)}
    values = {
        "named": lambda row: place[row["predictions"][0]["class_id"]],
        "p": lambda row: millionths(row["predictions"][0]["probability"]),
    }
    # Of two classes the second one's probability is what is left to 1.
    if second := len(ids) > 2 and all(len(row["predictions"]) > 1 for row in sums.rows):
        values |= {
            "second": lambda row: place[row["predictions"][1]["class_id"]],
            "q": lambda row: millionths(row["predictions"][1]["probability"]),
        }
    classes = [(shorten(sums.labels[k], 60), palette.of(k)) for k in ids]
    write_page(
        path,
        "prediction.html",
        sums=sums,
        facts=facts,
        palette=palette,
        named=[(place[k], *classes[place[k]], count) for k, count in sums.named.most_common(MOST_CLASSES)],
        tenths=[(10 * i, count) for i, count in enumerate(sums.tenths) if any(sums.tenths[: i + 1])],
        table=table_of(sums.rows, values, classes, beside, sums.videos),
        second=second,
        pictured=pictured,
        pictures=pictures_of(frames, positions),
        heat_maps={
            position: few[:: -(-len(few) // MOST_HEAT_MAPS)]
            for position, few in pictures_of(heat_maps, positions).items()
        },
        timelines={position: strip_of(timelines[position], palette) for position in positions if position in timelines},
        strongest=strongest,
        bars=MOST_BARS,
    )

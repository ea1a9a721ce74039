"""Write the page of a predicted list: classes and probabilities, a table of all videos, frames of a few."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from inference.label_kinds import ONE, LabelKind, headline
from metrics.sums import UNREADABLE_KEPT, Unreadable
from results.pages.page import Frames, never_fatal, pictures_of, shorten, write_page
from results.pages.palette import Palette
from results.pages.timeline import stretches_of, strip_of
from results.pages.video_rows import first_rows, millionths, table_of

# The page shows frames of this many videos, half of them the least sure ones, each with at most so many bars and heat
# maps.
MOST_PICTURED, MOST_BARS, MOST_HEAT_MAPS = 36, 5, 3
# Classes in the table of classes. The page stays below 10 MB.
MOST_CLASSES = 2000
# Ids from here on stand for combinations of classes.
SEVERAL = 1 << 40
# With many labels, this many classes are listed with their number of videos.
MOST_EACH = 100


class ListSums:
    """Sums over the rows of a list for its page, in one pass.

    Rows are {"position", "video", "predictions": [{"class_id", "label", "probability"}, ...]} or {"position", "video",
    "error"}.
    """

    def __init__(self, rows: Iterable[dict], kind: LabelKind = ONE):
        """Add up the rows; keep the least sure ones."""
        self.videos, self._answer, self._several = 0, kind.answer, {}  # combination of class ids -> its own id
        self.named: Counter[int] = Counter()
        self.labels: dict[int, str] = {}
        self.tenths = [0] * 10  # the number of videos by the probability of the named class
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
            self.labels |= {p["class_id"]: p["label"] for p in row["predictions"]}
            self.named[self.named_of(row)] += 1
            self.tenths[min(int(10 * best["probability"]), 9)] += 1
            if len(self._drawn) < MOST_PICTURED:  # reservoir sampling gives each video the same chance
                self._drawn.append(row)
            elif (place := self._random.randrange(self.videos)) < MOST_PICTURED:
                self._drawn[place] = row
            yield row

    def named_of(self, row: dict) -> int:
        """Return the id of a row's class, or the id of its combination of classes."""
        answer = sorted(self._answer(row["predictions"]), key=lambda p: p["class_id"])
        ids = tuple(p["class_id"] for p in answer)
        if len(ids) == 1:
            return ids[0]
        number = self._several.setdefault(ids, SEVERAL + len(self._several))
        self.labels[number] = headline(answer)
        return number

    def each(self) -> dict[str, str]:
        """Return a fact for pages with many labels: how many videos have each class, the most frequent first."""
        ids, counts = {number: ids for ids, number in self._several.items()}, Counter()
        for number, videos in self.named.items():
            counts.update(dict.fromkeys(ids.get(number, (number,)), videos))
        shown = ", ".join(f"{self.labels[k]} {videos:,}" for k, videos in counts.most_common(MOST_EACH))
        return {"videos of each class": shown} if self._several else {}

    @property
    def pictured(self) -> list[dict]:
        """Return the rows whose frames are shown, the least sure first: half are the least sure, half are random.

        The same rows always give the same choice.
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
    kind: LabelKind = ONE,
) -> None:
    """Write the page; a failure is one line on the screen.

    rows: see `ListSums`; read once. facts: lines about the run. frames: gives the frames that the network saw; called
    once, for the videos whose frames are shown. timelines: by position, see timeline.py. heat_maps: like frames.
    strongest: the highest value of each video's heat maps, by position. beside: the page's folder, where links to
    videos start; None: no links.
    """
    sums = ListSums(rows, kind)
    pictured = sums.pictured
    positions = [row["position"] for row in pictured]
    named = {stretch.class_id: stretch.label for k in positions for stretch in stretches_of(timelines.get(k, ()), kind)}
    palette = Palette(dict.fromkeys(named, 0) | sums.named, named | sums.labels)
    ids = sorted(sums.labels)
    place = {k: i for i, k in enumerate(ids)}
    values = {
        "named": lambda row: place[sums.named_of(row)],
        "p": lambda row: millionths(row["predictions"][0]["probability"]),
    }
    # With two classes the second one's probability is 1 minus the first.
    if second := kind is ONE and len(ids) > 2 and all(len(row["predictions"]) > 1 for row in sums.rows):
        values |= {
            "second": lambda row: place[row["predictions"][1]["class_id"]],
            "q": lambda row: millionths(row["predictions"][1]["probability"]),
        }
    classes = [(shorten(sums.labels[k], 60), palette.of(k)) for k in ids]
    write_page(
        path,
        "prediction.html",
        sums=sums,
        facts={**facts, **sums.each()},
        palette=palette,
        named=[(place[k], *classes[place[k]], count) for k, count in sums.named.most_common(MOST_CLASSES)],
        tenths=[(10 * i, count) for i, count in enumerate(sums.tenths) if any(sums.tenths[: i + 1])],
        table=table_of(sums.rows, values, classes, beside, sums.videos),
        second=second,
        many=kind is not ONE,
        pictured=pictured,
        pictures=pictures_of(frames, positions),
        heat_maps={
            position: few[:: -(-len(few) // MOST_HEAT_MAPS)]
            for position, few in pictures_of(heat_maps, positions).items()
        },
        timelines={k: strip_of(timelines[k], palette, kind=kind) for k in positions if k in timelines},
        strongest=strongest,
        bars=MOST_BARS,
    )

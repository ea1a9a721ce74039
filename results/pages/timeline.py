"""Write the windows of long videos: timeline.csv and timeline.json for programs, WebVTT for players.

A record is {"video", "start", "end", "predictions"} for each window, or {"video", "error"}; times in seconds.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from inference.label_kinds import ONE, LabelKind
from results.pages.palette import MOST_COLOURS, NOTHING, Palette
from results.tables import write_array
from utils.storage.files import write_csv, write_stream

_HEADER = ["video", "start", "end", "rank", "class_id", "label", "probability", "error"]
# Most pieces of a strip on a page, and most lanes: as many as there are colours.
MOST_PIECES, MOST_LANES = 150, MOST_COLOURS
# Most lines of a timeline on the screen.
_MOST_LINES = 20


def write_timelines(folder: Path, records: Sequence[dict]) -> None:
    """Write timeline.json and timeline.csv, a line per window and rank or per error."""
    write_stream(folder / "timeline.json", lambda file: (write_array(file, records), file.write("\n")))

    def lines() -> Iterator[list]:
        for record in records:
            if "error" in record:
                yield [record["video"], "", "", "", "", "", "", record["error"]]
            for rank, p in enumerate(record.get("predictions", ()), start=1):
                span = record["start"], record["end"]
                yield [record["video"], *span, rank, p["class_id"], p["label"], p["probability"], ""]

    write_csv(folder / "timeline.csv", _HEADER, lines())


def cues_of(records: Sequence[dict]) -> list[tuple[float, float, list[dict]]]:
    """Return (start, end, predictions) in seconds: a video's windows made disjoint, to show one at a time.

    Each moment goes to the window with the nearest middle.
    """
    middles = [(record["start"] + record["end"]) / 2 for record in records]
    borders = [(a + b) / 2 for a, b in zip(middles, middles[1:])]
    starts, ends = [0.0, *borders], [*borders, float("inf")]
    return [
        (max(record["start"], start), min(record["end"], end), record["predictions"])
        for record, start, end in zip(records, starts, ends)
    ]


def write_subtitles(path: Path, records: Sequence[dict], kind: LabelKind = ONE) -> None:
    """Write the classes at each moment as WebVTT (https://www.w3.org/TR/webvtt1/), one line per class."""
    blocks = ["WEBVTT"]
    for start, end, predictions in cues_of(records):
        lines = [f"{_clock(start)} --> {_clock(end)}"]
        for found in kind.answer(predictions):
            text = found["label"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            lines.append(f"{text} {100 * found['probability']:.0f}%")
        blocks.append("\n".join(lines))
    write_stream(path, lambda file: file.write("\n\n".join(blocks) + "\n"))


class Stretch(NamedTuple):
    """Consecutive windows that name a class. With one label, each moment has one class, see `cues_of`."""

    class_id: int
    label: str
    start: float  # seconds
    end: float
    highest: float  # probability


def stretches_of(records: Sequence[dict], kind: LabelKind = ONE) -> list[Stretch]:
    """Return a video's stretches in order. A stretch ends where its class is not named or a gap begins."""
    found: list[Stretch] = []
    before: dict[int, int] = {}  # class of the previous window -> index of its stretch
    for start, end, predictions in cues_of(records):
        now = {}
        for named in kind.answer(predictions):
            class_id, probability = named["class_id"], named["probability"]
            place = before.get(class_id)
            if place is not None and start <= found[place].end:
                found[place] = found[place]._replace(end=end, highest=max(found[place].highest, probability))
            else:
                place = len(found)
                found.append(Stretch(class_id, named["label"], start, end, probability))
            now[class_id] = place
        before = now
    return found


class Total(NamedTuple):
    """A class over a whole video, times in seconds."""

    class_id: int
    label: str
    stretches: int
    total: float
    longest: float
    first: float  # start of its first stretch


def totals_of(stretches: Iterable[Stretch]) -> list[Total]:
    """Return a row for each named class, the longest total time first."""
    found: dict[int, Total] = {}
    for class_id, label, start, end, _ in stretches:
        number, total, longest, first = found.get(class_id, (0, "", 0, 0.0, 0.0, start))[2:]
        longest = max(longest, end - start)
        found[class_id] = Total(class_id, label, number + 1, total + end - start, longest, first)
    return sorted(found.values(), key=lambda row: (-row.total, row.class_id))


def described(records: Sequence[dict], kind: LabelKind = ONE) -> str:
    """Return lines with the classes over time, and a table of the classes."""
    found = stretches_of(records, kind)
    lines = [f"  {minutes(s.start):>8} to {minutes(s.end)}  {s.label}" for s in found[:_MOST_LINES]]
    if len(found) > _MOST_LINES:
        lines.append(f"  ... {len(found) - _MOST_LINES} more")
    lines.append("  stretches    total  longest  class")
    for row in totals_of(found)[:_MOST_LINES]:
        lines.append(f"  {row.stretches:9}  {minutes(row.total):>7}  {minutes(row.longest):>7}  {row.label}")
    return "\n".join(lines)


@dataclass
class Strip:
    """A timeline for a page: stretches in colours, see palette.py."""

    # A single lane, or with many labels one for each class: (share of the whole, colour number, text).
    lanes: list[list[tuple[float, int, str]]]
    totals: list[Total]
    duration: float  # seconds
    windows: int
    stretches: int
    merged: int  # each piece stands for this many consecutive stretches of a lane
    drawn: int
    left_out: int  # classes without a lane


def strip_of(records: Sequence[dict], palette: Palette, most: int = MOST_PIECES, kind: LabelKind = ONE) -> Strip:
    """Return the strip of a video's records, of which there is at least one.

    With more stretches than `most`, neighbours are merged into one piece, named after the class with most of its time.
    With many labels, the classes with the most time have a lane each.
    """
    found = stretches_of(records, kind)
    # The only picture of a very short video may end, rounded, where it begins.
    duration, totals = max(stretch.end for stretch in found) or 1.0, totals_of(found)
    lanes, classes = [found], [row.class_id for row in totals if row.class_id >= 0]
    if kind is not ONE and classes:  # if no class is predicted, all lanes have a gap
        lanes = [[stretch for stretch in found if stretch.class_id == k] for k in classes[:MOST_LANES]]
    step = -(-max(map(len, lanes)) // (most // len(lanes)))
    drawn = [_pieces(lane, step, duration, palette) for lane in lanes]
    number = sum(-(-len(lane) // step) for lane in lanes)
    left_out = max(0, len(classes) - MOST_LANES) if kind is not ONE else 0
    return Strip(drawn, totals, duration, len(records), len(found), step, number, left_out)


def _pieces(lane: Sequence[Stretch], step: int, duration: float, palette: Palette) -> list[tuple[float, int, str]]:
    """Return a lane's pieces, each of `step` stretches, and the gaps between them."""
    pieces, shown = [], 0.0
    for group in (lane[i : i + step] for i in range(0, len(lane), step)):
        start, end = group[0].start, group[-1].end
        best = totals_of(group)[0]
        if start > shown:
            pieces.append(((start - shown) / duration, NOTHING, f"– · {minutes(shown)}–{minutes(start)}"))
        highest = max(stretch.highest for stretch in group if stretch.class_id == best.class_id)
        what = f"{best.label} · {minutes(start)}–{minutes(end)} · ≤ {100 * highest:.0f}%"
        pieces.append(((end - start) / duration, palette.of(best.class_id), what))
        shown = end
    if shown < duration:
        pieces.append(((duration - shown) / duration, NOTHING, f"– · {minutes(shown)}–{minutes(duration)}"))
    return pieces


def minutes(seconds: float) -> str:
    """Return a time as h:mm:ss, or m:ss."""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def lasting(seconds: float) -> str:
    """Return `12.5 s`, with a space that does not break, below a minute, otherwise the text of `minutes`."""
    return f"{seconds:.1f}\u00a0s" if seconds < 59.95 else minutes(seconds)


def _clock(seconds: float) -> str:
    """Return a time as hh:mm:ss.ttt."""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds / 1000:06.3f}"

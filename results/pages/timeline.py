"""The windows of long videos as files: timeline.csv and timeline.json for programs, WebVTT for players.

A record is {"video", "start", "end", "predictions"} for each window, or {"video", "error"}; times in seconds.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from inference.label_kinds import ONE, LabelKind, headline
from results.tables import write_array
from utils.storage.files import write_csv, write_stream

_HEADER = ["video", "start", "end", "rank", "class_id", "label", "probability", "error"]
# Of a strip on a page: classes with a colour of their own (results/pages/templates/style.css), and stretches.
MOST_COLOURS, MOST_PIECES = 6, 150


def write_timelines(folder: Path, records: Sequence[dict]) -> None:
    """Writes timeline.json and timeline.csv, of a line per window and rank or per error."""
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
    """(start, end, predictions) in seconds: the windows of a video made disjoint, for what shows one at a time.

    A moment belongs to the window whose middle is nearest.
    """
    middles = [(record["start"] + record["end"]) / 2 for record in records]
    borders = [(a + b) / 2 for a, b in zip(middles, middles[1:])]
    starts, ends = [0.0, *borders], [*borders, float("inf")]
    return [
        (max(record["start"], start), min(record["end"], end), record["predictions"])
        for record, start, end in zip(records, starts, ends)
    ]


def write_subtitles(path: Path, records: Sequence[dict], kind: LabelKind = ONE) -> None:
    """Writes the classes of each moment as WebVTT (https://www.w3.org/TR/webvtt1/), a line for each."""
    blocks = ["WEBVTT"]
    for start, end, predictions in cues_of(records):
        lines = [f"{_clock(start)} --> {_clock(end)}"]
        for found in kind.answer(predictions):
            text = found["label"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            lines.append(f"{text} {100 * found['probability']:.0f}%")
        blocks.append("\n".join(lines))
    write_stream(path, lambda file: file.write("\n\n".join(blocks) + "\n"))


@dataclass
class Strip:
    """A timeline as a page shows it: stretches of one class, in colours of which the last stands for all others."""

    pieces: list[tuple[float, int, str]]  # (share of the whole, number of the colour, what it is)
    legend: list[tuple[int, str]]  # (number of the colour, the class)
    duration: float  # seconds
    windows: int


def strip_of(records: Sequence[dict], kind: LabelKind = ONE) -> Strip:
    """The strip of a video's records, at least one. Of many stretches neighbours are taken together."""
    cues = [
        (start, end, headline(kind.answer(found)), found[0]["probability"]) for start, end, found in cues_of(records)
    ]
    duration = cues[-1][1] or 1.0  # a picture of a tick's length ends, rounded, where it begins
    lengths: Counter[str] = Counter()
    for start, end, label, _ in cues:
        lengths[label] += end - start
    labels = sorted(lengths, key=lambda label: (-lengths[label], label))
    colours = {label: min(place, MOST_COLOURS) for place, label in enumerate(labels)}
    # A stretch of windows that say the same; where there are too many, of as many windows each, named by the commonest.
    runs = [list(run) for _, run in groupby(cues, key=itemgetter(2))]
    if len(runs) > MOST_PIECES:
        step = -(-len(cues) // MOST_PIECES)
        runs = [cues[i : i + step] for i in range(0, len(cues), step)]
    pieces, shown = [], 0.0
    for run in runs:
        start, end = run[0][0], run[-1][1]
        label = Counter(label for _, _, label, _ in run).most_common(1)[0][0]
        if start > shown:
            pieces.append(((start - shown) / duration, MOST_COLOURS + 1, "between two windows"))
        best = max(probability for *_, probability in run)
        what = f"{label}, {minutes(start)} to {minutes(end)}, up to {100 * best:.0f}%"
        pieces.append(((end - start) / duration, colours[label], what))
        shown = end
    legend = [(place, label) for place, label in enumerate(labels[:MOST_COLOURS])]
    if len(labels) > MOST_COLOURS:
        legend.append((MOST_COLOURS, f"{len(labels) - MOST_COLOURS} others"))
    return Strip(pieces, legend, duration, len(records))


def minutes(seconds: float) -> str:
    """h:mm:ss, or m:ss"""
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _clock(seconds: float) -> str:
    """hh:mm:ss.ttt"""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds / 1000:06.3f}"

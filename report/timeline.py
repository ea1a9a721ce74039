"""The windows of long videos as files: timeline.csv and timeline.json for programs, WebVTT for players.

A record is {"video", "start", "end", "predictions"} for each window, or {"video", "error"}; times in seconds.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from metrics.report import write_array, write_csv
from utils.files import write_stream

_HEADER = ["video", "start", "end", "rank", "class_id", "label", "probability", "error"]


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


def write_subtitles(path: Path, records: Sequence[dict]) -> None:
    """Writes the best class of each moment as WebVTT (https://www.w3.org/TR/webvtt1/)."""
    blocks = ["WEBVTT"]
    for start, end, predictions in cues_of(records):
        best = predictions[0]
        text = best["label"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        blocks.append(f"{_clock(start)} --> {_clock(end)}\n{text} {100 * best['probability']:.0f}%")
    write_stream(path, lambda file: file.write("\n\n".join(blocks) + "\n"))


def _clock(seconds: float) -> str:
    """hh:mm:ss.ttt"""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{milliseconds / 1000:06.3f}"

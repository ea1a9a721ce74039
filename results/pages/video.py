"""Write the page of one video: the network's answer, and its course over time if predicted window by window."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from inference.label_kinds import ONE, LabelKind
from inference.rows import NONE_ID
from results.pages.page import address_of, never_fatal, number, picture, shorten, write_page
from results.pages.palette import Palette
from results.pages.timeline import cues_of, minutes, stretches_of, strip_of, totals_of
from utils.storage.objects import file_name, is_remote

# At most this many stretches and curve columns are drawn, about what fits on a screen.
MOST_STRETCHES, MOST_COLUMNS = 300, 1000
# Most bars for the whole video.
_MOST_BARS = 5
# Most axis marks, and the possible distances between marks in seconds.
_MOST_MARKS = 8
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


@never_fatal
def write_video_page(
    path: Path,
    row: dict,
    facts: Mapping[str, object],
    frames: Sequence[np.ndarray],
    records: Sequence[dict] = (),
    heat_maps: Sequence[np.ndarray] = (),
    strongest: float | None = None,
    files: Sequence[Path] = (),
    beside: Path | None = None,
    kind: LabelKind = ONE,
) -> None:
    """Write the page; a failure is one line on the screen.

    Args:
        row: {"video", "predictions"}, see prediction.py.
        facts: lines about the run.
        frames: the network's input for `row`, uint8 [H, W, 3] each.
        records: of the windows, see timeline.py.
        heat_maps: pictures of the frames, uint8 [S, S, 3] each; `strongest` is their highest value.
        files: made from the video, beside the page: subtitles, a labelled video.
        beside: the page's future folder, for links to the video; None: only a labelled video is linked.
        kind: whether the video has one label or many.
    """
    totals, predictions = totals_of(stretches_of(records, kind)), row["predictions"]
    bars = [p for p in predictions if p["class_id"] != NONE_ID][:_MOST_BARS]
    shares = {p["class_id"]: p["probability"] for p in predictions}
    names = {p["class_id"]: p["label"] for p in predictions}
    if totals:  # classes that are never the likeliest come last
        shares = {}
        for start, end, found in cues_of(records):
            for place, p in enumerate(found):
                share = (end - start) * (1 if place == 0 else 1e-6 * p["probability"])
                shares[p["class_id"]] = shares.get(p["class_id"], 0.0) + share
                names[p["class_id"]] = p["label"]
    palette = Palette(shares, names)
    made = [(file.name, address_of(file, path.parent)) for file in files]
    playing = next((to for name, to in made if name.endswith(".mp4")), "")
    if beside and not playing and os.path.isfile(row["video"]):
        playing = address_of(row["video"], beside)
    write_page(
        path,
        "video.html",
        name=file_name(row["video"]) if is_remote(row["video"]) else os.path.basename(row["video"]),
        row=row,
        bars=bars,
        unsure=predictions[0]["class_id"] == NONE_ID,
        facts=facts,
        palette=palette,
        pictures=[picture(frame) for frame in frames],
        heat_maps=[picture(frame) for frame in heat_maps],
        answer=", ".join(f"{shorten(p['label'], 60)} {number(100 * p['probability'])}%" for p in kind.answer(bars)),
        # Classes in the title: several with many labels; with one label the best, which may follow NONE.
        titled=3 if kind is not ONE else 2 if totals and totals[0].class_id == NONE_ID else 1,
        explained=bars[0]["label"] if bars else "–",
        strongest=strongest,
        totals=totals,
        none_id=NONE_ID,
        strip=strip_of(records, palette, MOST_STRETCHES, kind) if totals else None,
        many=kind is not ONE,
        curves=curves_of(records, palette) if totals else None,
        playing=playing,
        files=made,
    )


def curves_of(records: Sequence[dict], palette: Palette) -> dict:
    """Return each coloured class's probability over a video, for drawing.

    "step": how many windows a column averages; "columns": [start, end, [value of each class of the palette's legend]],
    where a value is per mille, or None if no window lists the class (in the mean, a window without the class counts 0);
    "missing": whether there are such classes; "paths": (colour, an SVG path on 1000 x 100); "marks": (percent of the
    length, mm:ss); "seen": the data for the page's script, as JSON.
    """
    cues = cues_of(records)
    duration, step = cues[-1][1] or 1.0, -(-len(cues) // MOST_COLUMNS)
    columns, colours, missing = [], [colour for colour, _ in palette.legend], False
    for i in range(0, len(cues), step):
        few = cues[i : i + step]
        sums: dict[int, float] = {}
        for _, _, predictions in few:
            found = {palette.of(p["class_id"]): p["probability"] for p in predictions}
            missing |= not found.keys() >= set(colours)
            for colour in found.keys() & set(colours):
                sums[colour] = sums.get(colour, 0.0) + found[colour]
        shares = [round(1000 * sums[c] / len(few)) if c in sums else None for c in colours]
        columns.append([round(few[0][0], 3), round(few[-1][1], 3), shares])
    paths = [(c, _path([(s, e, shares[n]) for s, e, shares in columns], duration)) for n, c in enumerate(colours)]
    seen = {"names": [name for _, name in palette.legend], "colours": colours, "duration": duration, "columns": columns}
    every = next((s for s in _STEPS if duration / s <= _MOST_MARKS), 3600 * -(-duration // (3600 * _MOST_MARKS)))
    marks = [(100 * at / duration, minutes(at)) for at in np.arange(0, 0.95 * duration, every).tolist()]
    return {
        "step": step,
        "missing": missing,
        "columns": columns,
        "paths": paths,
        "marks": marks,
        "seen": json.dumps(seen),
    }


def _path(steps: Sequence[tuple[float, float, int | None]], duration: float) -> str:
    """Return level lines from start to end, joined where one begins at the end of the other."""
    parts, last = [], None
    for start, end, share in steps:
        if share is not None:
            x, y = round(1000 * start / duration, 1), 100 - share / 10
            parts.append(f"V{y:g}" if last == start else f"M{x:g} {y:g}")
            parts.append(f"H{round(1000 * end / duration, 1):g}")
        last = end if share is not None else None
    return "".join(parts)

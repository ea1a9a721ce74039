"""Timelines as files, subtitles and strips."""

import csv
import json

import pytest

from results.pages.palette import NOTHING, Palette
from results.pages.timeline import cues_of, stretches_of, strip_of, totals_of, write_subtitles, write_timelines

IDS = {"a": 0, "b <&> c": 1, "d": 2}


def window(start: float, end: float, label: str = "a", probability: float = 0.5) -> dict:
    best = [
        {"class_id": IDS.setdefault(label, len(IDS)), "label": label, "probability": probability},
        {"class_id": 99, "label": "z", "probability": 0.1},
    ]
    return {"video": "my clip.mp4", "start": start, "end": end, "predictions": best}


OVERLAPPING = [window(0, 10), window(5, 15, "b <&> c", 0.987), window(10, 17, "b <&> c")]


def test_files_for_programs(tmp_path):
    records = [*OVERLAPPING, {"video": "broken.mp4", "error": "truncated"}]
    write_timelines(tmp_path, records)
    assert json.loads((tmp_path / "timeline.json").read_text()) == records
    rows = list(csv.DictReader((tmp_path / "timeline.csv").read_text().splitlines()))
    assert list(rows[0].values()) == ["my clip.mp4", "0", "10", "1", "0", "a", "0.5", ""]
    assert list(rows[1].values()) == ["my clip.mp4", "0", "10", "2", "99", "z", "0.1", ""]
    assert list(rows[-1].values()) == ["broken.mp4", "", "", "", "", "", "", "truncated"] and len(rows) == 7


@pytest.mark.parametrize(
    "spans, cues",
    [
        ([(0, 10)], [(0, 10)]),
        ([(0, 10), (5, 15), (10, 17)], [(0, 7.5), (7.5, 11.75), (11.75, 17)]),
        ([(0, 10), (10, 20)], [(0, 10), (10, 20)]),
        ([(0, 10), (20, 30)], [(0, 10), (20, 30)]),  # a gap remains
    ],
)
def test_windows_become_disjoint(spans, cues):
    assert [cue[:2] for cue in cues_of([window(*span) for span in spans])] == cues


def test_subtitles(tmp_path):
    write_subtitles(tmp_path / "clip.vtt", [*OVERLAPPING, window(3600, 3661.0004)])
    assert (tmp_path / "clip.vtt").read_text().split("\n\n") == [
        "WEBVTT",
        "00:00:00.000 --> 00:00:07.500\na 50%",
        "00:00:07.500 --> 00:00:11.750\nb &lt;&amp;&gt; c 99%",
        "00:00:11.750 --> 00:00:17.000\nb &lt;&amp;&gt; c 50%",
        "01:00:00.000 --> 01:01:01.000\na 50%\n",
    ]


def test_stretches_and_their_totals():
    records = [*OVERLAPPING, window(20, 30, "d"), window(30, 31)]
    found = stretches_of(records)
    assert [(s.label, s.start, s.end, s.highest) for s in found] == [
        ("a", 0, 7.5, 0.5), ("b <&> c", 7.5, 17, 0.987), ("d", 20, 27.75, 0.5), ("a", 30, 31, 0.5),
    ]  # fmt: skip
    assert [row[1:] for row in totals_of(found)] == [
        ("b <&> c", 1, 9.5, 9.5, 7.5), ("a", 2, 8.5, 7.5, 0), ("d", 1, 7.75, 7.75, 20),
    ]  # fmt: skip


def test_a_gap_ends_a_stretch():
    assert [(s.start, s.end) for s in stretches_of([window(0, 10), window(20, 30)])] == [(0, 10), (20, 30)]


PALETTE = Palette({0: 1.0, 1: 2.0, 2: 3.0}, {0: "a", 1: "b <&> c", 2: "d"})


def test_a_strip_joins_windows_of_one_class():
    strip = strip_of([*OVERLAPPING, window(20, 30, "d")], PALETTE)
    assert [round(30 * share, 2) for share, _, _ in strip.lanes[0]] == [7.5, 9.5, 3, 10]
    assert [colour for _, colour, _ in strip.lanes[0]] == [0, 1, NOTHING, 2]
    assert strip.lanes[0][1][2] == "b <&> c · 0:08–0:17 · ≤ 99%"
    assert (strip.duration, strip.windows, strip.stretches, strip.drawn) == (30, 4, 3, 3)


def test_a_strip_is_bounded_and_says_so():
    records = [window(5 * i, 5 * i + 10, f"class {i % 50}") for i in range(5000)]
    strip = strip_of(records, PALETTE)
    assert (strip.windows, strip.stretches, strip.drawn, len(strip.lanes[0])) == (5000, 5000, 148, 148)
    assert sum(share for share, _, _ in strip.lanes[0]) == pytest.approx(1) and len(strip.totals) == 50
    assert len(strip_of(records, PALETTE, 300).lanes[0]) <= 300

"""The table of a page's videos: its content, its size, and its use in a browser."""

import html as markup
import json
import re
from pathlib import Path

import pytest

from report_rows import HOSTILE, noise_frames, prediction_rows
from results.pages.prediction import MOST_PICTURED, ListSums, write_prediction_page
from results.pages.video_rows import MOST_BYTES, MOST_ROWS, millionths, table_of

pytest.importorskip("jinja2")
NAMES = [f"class {k}" for k in range(40)]


def table_in(path: Path) -> dict:
    """Return the content of a page's table."""
    [text] = re.findall(r'<script type="application/json">(.*?)</script>', path.read_text("utf-8"))
    return json.loads(text)


def packed(videos: list[str], beside: Path | None = None, total: int = 0) -> tuple:
    rows = [{"position": i, "video": video} for i, video in enumerate(videos)]
    table = table_of(rows, {"p": lambda row: row["position"]}, [(HOSTILE, 0)], beside, total or len(rows))
    return table, json.loads(table.json)


def test_links_start_from_the_folder_of_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = "javascript:alert(1)"
    videos = [
        "clips/a b.mp4",
        "clips/c.mp4",
        f"{tmp_path}/d.mp4",
        "e.mp4",
        f"{hostile}/f.mp4",
        "clips/\udcff.mp4",
        "s3://x/g",
    ]
    table, found = packed(videos, Path("runs/out"))
    linked = [found["folders"][place] for place in found["rows"]["folder"]]
    clips = ["clips/", "../../clips/"]
    here = [f"{tmp_path}/", "../../"], ["", "../../"], [f"{hostile}/", "../../javascript%3Aalert%281%29/"]
    assert linked == [clips, clips, *here, ["clips/", ""], ["s3://x/", ""]]
    assert found["rows"]["name"] == ["a b.mp4", "c.mp4", "d.mp4", "e.mp4", "f.mp4", "\\udcff.mp4", "g"]
    assert found["classes"] == [[HOSTILE, 0]] and "<" not in table.json and table.folder is None
    assert packed(videos[:2])[1]["folders"] == [["clips/", ""]] and packed(videos[:2])[0].folder == "clips/"


def test_a_table_keeps_its_limit_of_bytes():
    table, found = packed([f"{'x' * 200}{i}/{'é' * 100}" for i in range(20_000)], total=10**6)
    assert MOST_BYTES - 1000 < len(table.json.encode()) < MOST_BYTES + 1000
    assert table.rows == len(found["rows"]["name"]) < 10_000 and table.total == 10**6


@pytest.mark.parametrize("probability, expected", [(0.3, 300_000), (0.39999999, 399_999), (1.0, 10**6), (0.0, 0)])
def test_no_probability_is_rounded_into_the_next_bin(probability, expected):
    assert millionths(probability) == expected


def test_a_list_of_20000_videos_is_whole_and_small(tmp_path):
    rows = list(prediction_rows(20_000, NAMES))
    write_prediction_page(tmp_path / "report.html", rows, {}, noise_frames, beside=tmp_path)
    table = table_in(tmp_path / "report.html")
    best = {row["position"]: row["predictions"] for row in rows if "error" not in row}
    assert len(table["rows"]["position"]) == 19_800 and (tmp_path / "report.html").stat().st_size < 7e6
    columns = zip(*(table["rows"][name] for name in ("position", "named", "p", "second", "q")))
    for position, named, p, second, q in columns:
        first, then, *_ = best[position]
        assert (table["classes"][named][0], table["classes"][second][0]) == (first["label"], then["label"])
        assert (p, q) == (int(1e6 * first["probability"]), int(1e6 * then["probability"]))
    assert table["rows"]["p"] == sorted(table["rows"]["p"])  # the least certain first


def test_a_table_keeps_the_least_certain_of_more_videos(tmp_path):
    rows = [
        {"position": i, "video": f"{i}", "predictions": [{"class_id": 0, "label": "a", "probability": 1 - i / 30_000}]}
        for i in range(25_000)
    ]
    write_prediction_page(tmp_path / "report.html", iter(rows), {}, lambda positions: ())
    table = table_in(tmp_path / "report.html")
    assert table["rows"]["position"] == list(range(24_999, 24_999 - MOST_ROWS, -1)) and "second" not in table["rows"]
    assert "The 20,000 least certain of 25,000 videos" in (tmp_path / "report.html").read_text()


def test_frames_are_of_the_least_certain_videos_and_of_random_ones():
    sums = [ListSums(prediction_rows(1000, NAMES)) for _ in range(2)]
    pictured, again = ([row["position"] for row in one.pictured] for one in sums)
    least = [row["position"] for row in sums[0].rows[: MOST_PICTURED // 2]]
    assert pictured == again and len(set(pictured)) == MOST_PICTURED
    assert pictured[: len(least)] == least and max(pictured[len(least) :]) > 500


def test_a_section_without_videos_is_not_shown(tmp_path):
    for name, rows in (
        ("none", [{"position": 0, "video": "a", "error": "gone"}]),
        ("all", list(prediction_rows(5, NAMES))),
    ):
        write_prediction_page(tmp_path / name, rows, {}, lambda positions: ())
    none, full = ((tmp_path / name).read_text().partition("</style>")[2] for name in ("none", "all"))
    assert "Unreadable videos" in none and "All videos" not in none and 'id="named"' not in none
    assert "Unreadable videos" not in full and "All videos" in full


def test_unreadable_videos_are_grouped_by_reason(tmp_path):
    errors = ["gone"] * 150 + ["<torn>"] * 2
    rows = [{"position": i, "video": f"clips/{i}.mp4", "error": error} for i, error in enumerate(errors)]
    write_prediction_page(tmp_path / "report.html", [*rows, *prediction_rows(3, NAMES)], {}, lambda positions: ())
    section = (tmp_path / "report.html").read_text().partition("Unreadable videos")[2].partition("</section>")[0]
    found = re.findall(r"<tr><td>(.*?)</td><td class=\"n\">(\d+)</td>", section)
    assert [(markup.unescape(reason), int(number)) for reason, number in found] == [("gone", 150), ("<torn>", 2)]
    assert section.count("<bdi>") == 100 and "the first 100" in section

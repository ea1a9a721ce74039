"""The pages as files: outside text is escaped, they stay small, and a failure does not end a run."""

import json
import re
import sys

import numpy as np
import pytest

from conftest import snapshot
from metrics.sums import MISTAKES_KEPT, sum_rows
from report_rows import HOSTILE, evaluation_rows, log_line, noise_frames, prediction_rows, timeline_records
from results.pages import page
from results.pages.evaluation import write_evaluation_page
from results.pages.extras import check_logger, wants_report
from results.pages.prediction import MOST_HEAT_MAPS, MOST_PICTURED, ListSums, write_prediction_page
from results.pages.training import write_training_page
from results.pages.video import write_video_page
from utils.errors import InputError

pytest.importorskip("jinja2")
METRICS = {"loss": 1.25, "top1_acc": 50.0, "top5_acc": 75.0, "protocol": "3 segments, 1 centre crop 224"}
NAMES = [f"class_{k}" for k in range(400)]


def evaluation_page(path, rows, names=NAMES, metrics=METRICS, facts=None, frames=noise_frames) -> str:
    about = facts or {"weights": "TSN.pdparams"}
    write_evaluation_page(path / "report.html", rows, sum_rows(rows, 400), metrics, names, about, frames)
    return (path / "report.html").read_text("utf-8")


def random_rows(videos: int, num_classes: int) -> list[dict]:
    random = np.random.default_rng(0)
    labels = random.integers(0, num_classes, videos)
    logits = random.normal(size=(videos, num_classes)).astype(np.float32)
    logits[np.arange(videos), labels] += 2
    return list(evaluation_rows(logits, labels, folder="/data/" + "long/" * 60))


def test_an_evaluation_of_20000_videos_of_400_classes_is_small(tmp_path):
    html = evaluation_page(tmp_path, random_rows(20_000, 400))
    assert len(html.encode()) < 10e6
    assert html.count('<article class="card"') == MISTAKES_KEPT and html.count("<img ") == 6 * MISTAKES_KEPT
    for table, rows in (("classes", 400), ("pairs", 20)):
        assert html.partition(f'id="{table}"')[2].partition("</table>")[0].count('<td class="n share') == rows
    said = (
        "Wilson",
        "95% interval",
        f"The {MISTAKES_KEPT} most confident of ",
        "The 30 most confused of 400",
        "The 20 most frequent of",
    )
    assert all(words in html for words in said)


def test_the_same_rows_give_the_same_page(tmp_path):
    """An interrupted and continued run leaves the same files as an uninterrupted one."""
    pages = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        evaluation_page(tmp_path / name, random_rows(50, 10), frames=lambda positions: [])
        pages.append(snapshot(tmp_path / name))
    assert pages[0] == pages[1]


def test_with_long_names_timelines_of_hours_and_heat_maps_20000_videos_stay_small(tmp_path):
    rows = [row | {"video": f"clips/{row['position']}{'x' * 200}.mp4"} for row in prediction_rows(20_000, NAMES)]
    pictured = ListSums(rows).pictured
    timelines = {row["position"]: timeline_records(row["video"], NAMES, windows=1000) for row in pictured}
    write_prediction_page(tmp_path / "report.html", rows, {}, noise_frames, timelines, noise_frames)
    html = (tmp_path / "report.html").read_text("utf-8")
    assert len(html.encode()) < 10e6, len(html.encode())
    assert html.count('<div class="stretches"') == MOST_PICTURED
    assert html.count("<img ") == (6 + MOST_HEAT_MAPS) * MOST_PICTURED
    said = '<span lang="en">1,000 windows</span>', '<span lang="en">, 1,000 stretches</span>', ">, 143 drawn</span>"
    assert (
        all(html.count(words) == MOST_PICTURED for words in said)
        and html.count("· 1:23:25</figcaption>") == MOST_PICTURED
    )
    assert "394 others" in html and html.count('class="classes"') == 1  # a single legend


def hostile_pages(folder) -> dict[str, str]:
    """Return each kind of page, with hostile names wherever names come from outside."""
    rows = random_rows(40, 4)
    for row in rows:
        row["video"] = f"{HOSTILE}\udcff{row['position']}"
    error = {"position": 40, "video": HOSTILE, "error": HOSTILE}
    predicted = [{"class_id": 0, "label": HOSTILE, "probability": 0.5}]
    facts = {HOSTILE: HOSTILE, "configuration": f"{HOSTILE}\n{HOSTILE}"}
    metrics = {"loss": 1.0, "top1_acc": 50.0, "protocol": HOSTILE}
    pages = {name: folder / f"{name}.html" for name in ("evaluation", "prediction", "single", "training")}
    rows.append(error)
    write_evaluation_page(
        pages["evaluation"], rows, sum_rows(rows, 4), metrics, [HOSTILE] * 4, facts, noise_frames, folder
    )
    videos = [{"position": i, "video": HOSTILE, "predictions": predicted} for i in range(3)]
    write_prediction_page(pages["prediction"], [*videos, error], facts, noise_frames, beside=folder)
    [(_, frames)] = noise_frames([0])
    write_video_page(pages["single"], videos[0], facts, frames)
    log = folder / "train_log.jsonl"
    log.write_text(json.dumps(log_line("train", 0, 0)) + "\n" + json.dumps(log_line("valid", 0, 4)) + "\n")
    write_training_page(pages["training"], log, 5, 2, facts)
    return {name: page.read_text("utf-8") for name, page in pages.items()}


def test_hostile_names_are_text(tmp_path):
    for name, html in hostile_pages(tmp_path).items():
        assert html.count("<script>") == 1 and "onerror=&#39;window.hacked = 1&#39;" in html, name
        assert "<img src=x" not in html and "{{ 7 * 7 }}" in html, name


def test_no_page_names_an_address(tmp_path):
    for name, html in hostile_pages(tmp_path).items():
        addresses = re.findall(
            r"""(?:src|href|url|@import)\s*[=(]\s*["']?([^"'\s)>]{0,12})""", html.replace(HOSTILE, "")
        )
        beside = "predictions.", "confusion.cs", "metrics.json"
        assert all(address.startswith(("data:", "x", *beside)) for address in addresses), (name, addresses)
        assert "http:" not in html and "https:" not in html and "default-src 'none'" in html


def test_a_page_has_its_time_and_command(tmp_path, monkeypatch):
    monkeypatch.setattr(page.time, "strftime", lambda form: f"at {form}")
    monkeypatch.setattr(page.cli, "is_running", True)
    monkeypatch.setattr(sys, "argv", ["eval.py", "--weights=https://me:secret@host/w", "--set", "a <b>"])
    html = evaluation_page(tmp_path, random_rows(3, 3))
    assert "<dd>at %Y-%m-%d %H:%M</dd>" in html
    command = "python eval.py --weights=https://…@host/w --set &#39;a &lt;b&gt;&#39;"
    assert f"<code>{''.join(f'<span>{word}</span> ' for word in command.split(' '))}</code>" in html


def test_a_page_of_few_videos_and_one_class(tmp_path):
    [right] = evaluation_rows(np.array([[2.0, 1.0]]), np.array([0]))
    metrics = {"loss": 0.3, "top1_acc": 100.0, "protocol": "p"}
    html = evaluation_page(tmp_path, [right], ["a", "b"], metrics)
    body = html.partition("</style>")[2].rpartition("<script>")[0]
    assert "100.00% of 1 video right" in body and "Mistakes" not in body and "Top-5" not in body
    assert "threshold" not in body and '<article class="card"' not in body and "unreadable" not in body


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.parent.rmdir()])
def test_a_page_that_cannot_be_written_is_one_line(tmp_path, capsys, make):
    path = tmp_path / "out" / "report.html"
    path.parent.mkdir()
    make(path)
    write_prediction_page(path, prediction_rows(3, NAMES), {}, noise_frames)
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith(f"no report: {path}: cannot be written: ")


def test_a_page_that_cannot_be_made_is_one_line(tmp_path, capsys):
    def broken(positions):
        raise ValueError("of\ntwo lines")

    write_prediction_page(tmp_path / "report.html", prediction_rows(3, NAMES), {}, broken)
    assert capsys.readouterr().out == f"no report: {tmp_path}/report.html: ValueError: of two lines\n"
    assert not list(tmp_path.iterdir())


def test_missing_packages(monkeypatch):
    assert wants_report(None) and wants_report(True) and not wants_report(False)
    for package in ("jinja2", "tensorboardX", "visualdl"):
        monkeypatch.setitem(sys.modules, package, None)
    assert not wants_report(None) and not wants_report(False)
    with pytest.raises(InputError) as error:
        wants_report(True)
    install = "which is not installed: pip install -r requirements-extras.txt"
    assert str(error.value) == f"--report=True needs the package jinja2, {install}"
    check_logger("none")
    with pytest.raises(InputError) as error:
        check_logger("tensorboard")
    assert str(error.value) == f"TRAIN.logger tensorboard needs the package tensorboardX, {install}"
    with pytest.raises(InputError, match="visualdl, which is not installed: pip install visualdl$"):
        check_logger("visualdl")

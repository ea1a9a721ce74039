"""The pages in a real browser: they load no other file, fit on a phone, can be sorted and searched."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from chromium import contrast, needs_chromium, tabs, until
from metrics.sums import sum_rows
from report_rows import HOSTILE, evaluation_rows, log_line, prediction_rows, timeline_records, two_class_rows
from results.comparing import Comparison, EvaluatedRun
from results.pages.comparison import write_comparison_page
from results.pages.curves import SIDE
from results.pages.evaluation import write_evaluation_page
from results.pages.prediction import write_prediction_page
from results.pages.training import write_training_page

pytest.importorskip("jinja2")
__all__ = ["tabs"]  # a fixture
pytestmark = needs_chromium

KINDS = ["evaluation", "prediction", "training"]
NAMES = [f"class_{k}_with_a_long_name" for k in range(40)]
NAMES[7] = HOSTILE


def grey_frames(positions: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield six frames of each video."""
    return ((position, np.full((6, 32, 32, 3), position % 256, np.uint8)) for position in positions)


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, str]:
    """Provide the address of each kind of page. The videos and one of the classes have hostile names."""
    folder = tmp_path_factory.mktemp("pages")
    random = np.random.default_rng(0)
    labels = random.integers(0, 40, 1000)
    logits = random.normal(size=(1000, 40)).astype(np.float32)
    logits[np.arange(1000), labels] += 2
    rows = [
        *evaluation_rows(logits, labels, HOSTILE + 150 * "x"),
        {"position": 1000, "video": HOSTILE, "error": HOSTILE},
    ]
    metrics = {"loss": 1.0, "top1_acc": 50.0, "top5_acc": 70.0, "protocol": "3 segments"}
    facts = {"weights": f"{HOSTILE}/TSN.pdparams", "list": 150 * "x", "configuration": "MODEL:\n" + "  name: TSN" * 60}
    write_evaluation_page(folder / "evaluation.html", rows, sum_rows(rows, 400), metrics, NAMES, facts, grey_frames)
    rows = list(prediction_rows(60, NAMES))
    timelines = {row["position"]: timeline_records(row["video"], NAMES) for row in rows}
    write_prediction_page(folder / "prediction.html", rows, facts, grey_frames, timelines, grey_frames)
    log = folder / "train_log.jsonl"
    lines = [log_line("train", epoch, step) for epoch in range(3) for step in range(0, 200, 10)]
    lines += [log_line("valid", epoch, 199) for epoch in range(3)]
    lines[30]["resumed"] = [1, 95]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    write_training_page(folder / "training.html", log, 200, 3, facts)
    return {kind: f"file://{folder}/{kind}.html" for kind in KINDS}


@pytest.fixture
def opened(tabs, pages):
    """Provide a function that opens a kind of page; it returns the result of `Tabs.open`."""
    return lambda kind, *how: tabs.open(pages[kind], *how)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width, scheme", [(390, "dark"), (1280, "light")])
def test_a_page_loads_nothing_else_and_fits(opened, pages, kind, width, scheme):
    page, complaints, requests = opened(kind, width, scheme)
    assert complaints == [] and [url for url in requests if not url.startswith("data:")] == [pages[kind]]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0 && image.alt)")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, colour[4:-1].split(","))) < 100) == (scheme == "dark")
    edges = "(fields) => fields.map((field) => getComputedStyle(field).borderTopColor)"
    fields = page.locator("[type=search], [type=number], select").evaluate_all(edges)
    assert all(contrast(edge, colour) >= 3 for edge in fields)  # WCAG 1.4.11


@pytest.mark.parametrize("kind", KINDS)
def test_the_chosen_language_is_shown_and_remembered(opened, kind):
    page, complaints, _ = opened(kind)
    english = page.locator("main").inner_text()
    assert "About this run" in english and "关于本次运行" not in english
    assert page.title() == page.locator("h1").inner_text()
    page.get_by_role("button", name="中文").click()
    chinese = page.locator("main").inner_text()
    assert "关于本次运行" in chinese and "About this run" not in chinese
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    heads = page.locator(".sortable thead button:visible").evaluate_all("all => all.map((head) => head.offsetHeight)")
    assert all(height < 45 for height in heads)  # one line
    page.reload()
    until(page, "document.documentElement.lang === 'zh-CN'")
    assert page.locator("main").inner_text() == chinese and complaints == []
    page.get_by_role("button", name="English").click()
    assert page.locator("main").inner_text() == english


def column(page, table: str, number: int) -> list[str]:
    cells = f"#{table} tbody tr:not([hidden]) > :nth-child({number})"
    return page.eval_on_selector_all(cells, "cells => cells.map(cell => cell.textContent.trim())")


def test_a_table_sorts_by_the_mouse_and_by_the_keyboard(opened):
    page, complaints, _ = opened("evaluation")
    accuracies = [float(text) for text in column(page, "classes", 2)]
    assert len(accuracies) == 40 and accuracies == sorted(accuracies)  # the worst first
    head = page.locator("#classes th[aria-sort]")
    page.locator("#classes").get_by_role("button", name="Videos").click()
    videos = [int(text) for text in column(page, "classes", 3)]
    assert videos == sorted(videos) and videos != sorted(videos, reverse=True)
    assert head.evaluate_all("heads => heads.map(head => head.ariaSort)")[:3] == ["none", "none", "ascending"]
    page.keyboard.press("Enter")
    assert [int(text) for text in column(page, "classes", 3)] == sorted(videos, reverse=True)
    assert head.nth(2).get_attribute("aria-sort") == "descending"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    names = column(page, "classes", 1)
    ours = [name for name in names if name.startswith("class_")]
    assert ours == sorted(ours, key=lambda name: int(name.split("_")[1])) and len(ours) == 39  # 9 before 10
    assert complaints == []


def test_search_hides_rows_without_the_text(opened):
    page, complaints, _ = opened("evaluation")
    field = page.get_by_label("Search classes")
    field.fill("CLASS_12_")
    named = [name for name in column(page, "classes", 1) if "class_12_" in name]
    others = [row for row in column(page, "classes", 9) if "class_12_" in row]
    assert named and len(column(page, "classes", 1)) == len(named) + len(others) < 40
    field.fill("no such class")
    found = page.locator(".search output").first
    assert column(page, "classes", 1) == [] and found.text_content() == "0 of 40"
    page.get_by_role("button", name="中文").click()
    assert found.text_content() == "共 40 个，显示 0 个" and page.get_by_label("搜索类别").is_visible()
    field.fill("")
    assert len(column(page, "classes", 1)) == 40 and complaints == []


def test_a_wide_matrix_has_its_heading_and_whole_names_on_a_phone(opened):
    page, complaints, _ = opened("evaluation", 390)
    [heading] = page.locator(".matrix .edge[colspan] > span:visible").all()
    box = heading.bounding_box()
    assert heading.text_content() == "predicted as" and 0 < box["x"] < box["x"] + box["width"] < 390
    cut = "(buttons) => buttons.filter((button) => button.scrollWidth > button.clientWidth).length"
    assert page.locator(".matrix tbody th > button").evaluate_all(cut) == 0 and complaints == []


def test_search_finds_a_predicted_video(opened):
    page, complaints, _ = opened("prediction", 390)
    page.locator("[data-filter=name]").fill("CLIPS/42.mp4")
    cards = page.locator(".card:visible")
    assert cards.count() == 1 and "clips/42.mp4" in cards.first.text_content() and complaints == []
    assert page.locator(".videos output").text_content() == "1 of 59 videos"
    # Six frames and three heat maps, classes as bars, and the stretches of its timeline with their legend.
    assert cards.first.locator("img").count() == 6 + 3 and cards.first.locator(".bar").count() == 5
    stretches = cards.first.locator(".stretches span")
    assert stretches.count() == 60 and all(stretch.bounding_box()["width"] > 1 for stretch in stretches.all())
    assert page.locator(".classes > span").count() == 7
    assert cards.first.locator(".scale").bounding_box()["height"] < 30  # one line
    text = page.locator("main").inner_text()
    assert "Only 6 of them have their own colour" in text and "A stretch is a time" in text


def test_resumes_are_marked_in_every_chart(opened):
    page, *_ = opened("training")
    assert page.locator(".chart").count() == page.locator(".chart .mark").count() == 5
    assert page.locator(".chart figcaption").first.inner_text() == "Loss mean over videos"
    assert "Resumed at epoch 1, iter 95" in page.locator("main").inner_text()
    assert page.locator("tr.best th").inner_text().split() == ["2", "best"]


def test_a_chart_shows_the_values_under_the_pointer(opened):
    page, complaints, _ = opened("training")
    chart = page.locator(".chart").first
    box = chart.locator("svg").bounding_box()
    chart.locator("svg").hover(position={"x": box["width"] * 388 / 400, "y": 60})
    loss = float(f"{2.0 / (1 + 2 + 199 / 10):.4g}")
    assert f"validation after 2: {loss}" in chart.locator("output").inner_text()
    assert "epoch 2, iter 190: training " in chart.locator("output").inner_text() and complaints == []
    assert chart.locator(".cursor").get_attribute("hidden") is None
    page.mouse.move(1, 1)
    assert chart.locator("output").inner_text() == ""


def test_a_table_fades_at_the_edge_until_it_is_scrolled_to_the_end(opened):
    page, *_ = opened("training", 390)
    table = page.locator(".scroll", has=page.locator("#validations"))
    assert table.evaluate("box => box.classList.contains('more')")
    table.evaluate("box => { box.scrollLeft = box.scrollWidth; }")
    until(page, "!document.getElementById('validations').closest('.scroll').classList.contains('more')")


def test_a_threshold_can_be_chosen(tabs, tmp_path):
    rows = two_class_rows([0, 0, 0, 1, 1], [0.9, 0.8, 0.3, 0.75, 0.1])
    sums = sum_rows(rows, 2)
    path = tmp_path / "report.html"
    write_evaluation_page(path, rows, sums, sums.accuracy.means, ["calm", "fight"], {}, lambda positions: ())
    page, complaints, _ = tabs.open(path.as_uri())

    def shown(*names: str) -> list[str]:
        return [page.locator(f"[data-value={name}]:visible").text_content() for name in names]

    assert shown("hits", "missed", "wrong", "rest") == ["1", "1", "1", "2"]  # fight, 50%
    page.locator(".thresholds select").select_option("calm")
    page.locator(".thresholds [type=range]").fill("76")
    assert shown("threshold", "precision", "recall") == ["76%", "100.0%", "66.7%"]
    assert shown("alarms", "f1", "accuracy") == ["0.0%", "80.0%", "80.0%"]
    [dot] = page.locator("[data-dot=roc]:visible").all()
    assert [float(dot.get_attribute(name)) for name in ("cx", "cy")] == pytest.approx([0, SIDE / 3])
    page.locator(".thresholds [type=range]").fill("100")  # no video is found, so there is no precision
    assert shown("precision") == ["–"] and page.locator("[data-dot=precision]:visible").count() == 0
    assert complaints == []


def test_a_table_is_saved_as_it_is_shown(opened):
    page, complaints, _ = opened("evaluation")
    page.get_by_label("Search classes").fill("class_12_")
    with page.expect_download() as download:
        page.locator("[data-save=classes]").click()
    head, *rows = csv.reader(download.value.path().read_text("utf-8-sig").splitlines())
    assert head[:5] == ["Class", "Recall %", "Videos", "95% interval", "Top-5 %"] and rows[-1][0] == "mean"
    assert [row[0] for row in rows[:-1]] == column(page, "classes", 1) and complaints == []


def test_a_class_of_two_runs_lists_its_videos(tabs, tmp_path):
    first, second = (
        EvaluatedRun(name, {}, {(row["video"], 0): {k: str(value) for k, value in row.items()} for row in rows})
        for name, rows in (
            ("a", two_class_rows([0, 0, 1], [0.9, 0.2, 0.6])),
            ("b", two_class_rows([0, 0, 1], [0.4, 0.8, 0.7])),
        )
    )
    names = {"0": "calm", "1": "fight"}
    write_comparison_page(tmp_path / "c.html", Comparison([first, second], list(first.rows), 0, names))
    page, complaints, _ = tabs.open((tmp_path / "c.html").as_uri())
    said = page.locator(".videos output")
    assert said.text_content() == "2 of 2 videos"
    page.locator("[data-end=least]").fill("85")  # of the first run
    assert said.text_content() == "1 of 2 videos" and "A: probability from" in page.locator(".filters").inner_text()
    page.get_by_role("button", name="fight").click()
    assert said.text_content() == "0 of 2 videos"
    page.get_by_role("button", name="calm").click()
    assert said.text_content() == "2 of 2 videos" and complaints == []


def test_the_table_of_videos(tabs, tmp_path):
    # 300 videos of 4 classes
    path, names = tmp_path / "report.html", [f"class {k}" for k in range(4)]
    random = np.random.default_rng(1)
    labels = random.integers(0, 4, 300)
    logits = random.normal(size=(300, 4)).astype(np.float32)
    logits[np.arange(300), labels] += 1
    rows = list(evaluation_rows(logits, labels, str(tmp_path)))
    sums = sum_rows(rows, 4)
    write_evaluation_page(path, rows, sums, sums.accuracy.means, names, {}, grey_frames, tmp_path)
    wrong = sorted((row for row in rows if row["rank"] > 1), key=lambda row: -row["probability"])
    page, complaints, requests = tabs.open(path.as_uri())
    said, lines = page.locator(".videos output"), page.locator(".videos tbody tr")

    def shown(column: int) -> list[str]:
        return page.eval_on_selector_all(
            f".videos tbody tr > :nth-child({column})",
            "cells => cells.map((cell) => cell.querySelector('bdi')?.textContent ?? cell.textContent)",
        )

    # Only mistakes, the most confident first. More rows are drawn when it is scrolled.
    assert said.text_content() == f"{len(wrong)} of 300 videos" and lines.count() == 60
    assert shown(4) == [f"{100 * row['probability']:.1f}" for row in wrong[:60]]
    page.locator(".videos .scroll").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    lines.nth(60).wait_for()
    assert shown(1)[:120] == [Path(row["video"]).name for row in wrong[:120]]
    # Sorted by name: 9 before 10.
    page.locator(".videos th[data-column=name] button").click()
    assert shown(1) == sorted((Path(row["video"]).name for row in wrong), key=lambda name: int(name[:-4]))[:60]
    # A cell of the matrix lists its videos, right ones too, and shows only their frames.
    for true, named in ((2, 1), (3, 3)):
        cell = page.locator(f"""[data-pick='{{"true": {true}, "named": {named}}}']""")
        cell.click()
        count = sum(row["label"] == true and row["predicted_class"] == named for row in rows)
        assert said.text_content() == f"{count} of 300 videos" and int(cell.text_content().split("%")[0][:2]) > 0
        assert set(shown(2)) == {names[true]} and set(shown(3)) == {names[named]}
    assert page.locator(".card:visible").count() == 0
    # The search covers all rows, also those not drawn; the rows found can be saved.
    page.get_by_role("button", name="Show all").click()
    page.locator("[data-filter=name]").fill("/299.MP4")
    assert said.text_content() == "1 of 300 videos" and shown(1) == ["299.mp4"]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save these rows").click()
    [line] = csv.DictReader(download.value.path().read_text("utf-8-sig").splitlines())
    assert (line["video"], line["true"]) == (rows[299]["video"], names[rows[299]["label"]])
    assert float(line["probability"]) == pytest.approx(rows[299]["probability"], abs=1e-6)
    assert page.locator(".videos tbody a").first.get_attribute("href") == "./299.mp4"
    # Filtered by probability, from 40% to below 50%.
    page.locator("[data-filter=name]").fill("")
    page.locator("[data-end=least]").fill("40")
    page.locator("[data-end=most]").fill("50")
    assert said.text_content() == f"{sum(0.4 <= row['probability'] < 0.5 for row in rows)} of 300 videos"
    page.get_by_role("button", name="中文").click()
    assert said.text_content().startswith("300 个视频中的 ")
    assert complaints == [] and {url for url in requests if url[:5] not in ("data:", "blob:")} == {path.as_uri()}

"""The pages in a real browser: they load no other file, fit on a phone, can be sorted and searched."""

import json
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from chromium import chromium, needs_chromium, watched_page
from metrics.sums import sum_rows
from report_rows import HOSTILE, evaluation_rows, log_line, prediction_rows, timeline_records
from results.pages.evaluation import write_evaluation_page
from results.pages.prediction import write_prediction_page
from results.pages.training import write_training_page

pytest.importorskip("jinja2")
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


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser, pages):
    """Provide a function that opens a kind of page; it returns the result of `watched_page`."""
    contexts = []

    def open_page(kind: str, width: int = 1280, scheme: str = "light", locale: str = "en-US"):
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, locale=locale)
        contexts.append(context)
        page, complaints, requests = watched_page(context)
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.goto(pages[kind])
        return page, complaints, requests

    yield open_page
    for context in contexts:
        context.close()


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
    page.reload()
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


def test_resumes_are_marked_in_every_chart(opened):
    page, *_ = opened("training")
    assert page.locator(".chart").count() == page.locator(".chart .mark").count() == 5
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
    page.wait_for_timeout(300)
    assert not table.evaluate("box => box.classList.contains('more')")

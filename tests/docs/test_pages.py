"""The pages: their length, their links, their tables against the code, and the same content in Chinese."""

import re
from collections import Counter

import pytest

from conftest import ROOT
from documentation import blocks, chinese, commands, english_pages, read_page
from utils.config import flags, loading, published
from utils.processes.device import INSTALL_FOR_GPUS

ENGLISH = [*english_pages(), "data/README.md"]
CHINESE = [chinese(page) for page in ENGLISH]
PAGES = [*ENGLISH, *CHINESE]
KINDS = {"bash", "python", "text", "nginx", ""}
_COMMAND = re.compile(r"(python|bash|pip|curl|ray|CUDA_VISIBLE_DEVICES=\S+) ")
# GitHub makes a heading's anchor from its lower-case letters, digits, blanks, - and _ and drops the rest.
_DROPPED = re.compile(r"[^\w\- ]")


def without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def sections(text: str) -> list[str]:
    """Return the text without fences, cut before each heading."""
    return re.split(r"^(?=#+ )", without_fences(text), flags=re.MULTILINE)


def inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", without_fences(text), re.MULTILINE)
    return {_DROPPED.sub("", heading.lower()).replace(" ", "-") for heading in headings}


def table_rows(text: str) -> list[list[str]]:
    return [re.split(r" \|(?: |$)", line[2:]) for line in text.splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_the_readme_is_read_in_ten_minutes(page):
    assert len(read_page(page).splitlines()) <= 200


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md"])
def test_lines_of_text_have_at_most_120_characters(page):
    text = without_fences(read_page(page))
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []


@pytest.mark.parametrize("table", [flags.reference_table(), loading.reference_table()], ids=["flags", "keys"])
def test_the_tables_are_what_the_code_says(table):
    assert table in read_page("docs/flags_and_keys.md")


@pytest.mark.parametrize("page", ["docs/weights_and_protocols.md", "docs/zh-CN/weights_and_protocols.md"])
def test_the_table_of_published_weights_is_what_their_file_says(page):
    assert published.reference_table() in read_page(page)


def test_the_chinese_tables_have_the_same_flags_keys_and_defaults():
    english, ours = (table_rows(read_page(f"docs/{folder}flags_and_keys.md")) for folder in ("", "zh-CN/"))
    assert len(english) == len(ours) > 100
    for row, translated in zip(english, ours, strict=True):
        if row[0].startswith("--"):
            assert translated[0] == row[0] and inline_code(translated[2]) == inline_code(row[2])
        elif row[0].isupper() or ", " in row[0]:
            assert [translated[1], inline_code(translated[2])] == [row[1], inline_code(row[2])]
            assert re.findall(r"[A-Z]{4,}", translated[0]) == re.findall(r"[A-Z]{4,}", row[0])


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    folder = (ROOT / page).parent
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", read_page(page)):
        path = (folder / target).resolve() if target else ROOT / page
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{target}#{anchor}"


@pytest.mark.parametrize("page", ENGLISH)
def test_every_command_stands_in_a_fence_from_which_it_is_run(page):
    run = {line for other in (*ENGLISH, "CONTRIBUTING.md") for line in commands(read_page(other))}
    run.add("bash run.sh test")  # this test is part of it
    theirs = read_page("docs/migration.md") if page == "docs/migration.md" else ""
    for command in filter(_COMMAND.match, inline_code(without_fences(read_page(page)))):
        assert command in run or command in theirs, command
    for block in blocks(read_page(page)):
        assert block.kind in KINDS
        assert block.kind == "bash" or not any(map(_COMMAND.match, block.lines)), block.text


def test_there_is_one_command_for_gpus():
    [install] = [line for line in commands(read_page("docs/devices.md")) if "requirements-gpu.txt" in line]
    assert install == INSTALL_FOR_GPUS
    assert f"#   {install}\n" in (ROOT / "requirements-gpu.txt").read_text()


@pytest.mark.parametrize("page", ENGLISH)
def test_the_chinese_page_says_the_same(page):
    """Compare fences, headings, tables, code, figures and links of each section; within it, their order is free.

    Fences and headings are the exception: they stand in the same order on both sides.
    """
    english, ours = read_page(page), read_page(chinese(page))
    assert blocks(ours) == blocks(english)
    pairs = list(zip(sections(english), sections(ours), strict=True))
    for section, translated in pairs:
        assert heading_level(translated) == heading_level(section)
        name = section.splitlines()[0] if section.strip() else page
        assert [len(row) for row in table_rows(translated)] == [len(row) for row in table_rows(section)], name
        assert set(inline_code(translated)) == set(inline_code(section)), name
        assert figures(translated) == figures(section), name
        assert links(translated) == links(section), name
    assert len(re.findall(r"[\u4e00-\u9fff]", ours)) > 100


def heading_level(section: str) -> int:
    return len(re.match(r"#*", section)[0])


def figures(section: str) -> Counter:
    """Return the numbers outside of code and addresses."""
    text = re.sub(r"`[^`\n]+`|\]\([^)]*\)|https?:\S+", "", section)
    return Counter(re.findall(r"\d[\d,.]*\d|\d", text))


def links(section: str) -> Counter:
    """Return the targets of the links, without the language's folder and without headings."""
    found = re.findall(r"\]\(([^)#]*)", section)
    return Counter(re.sub(r"^(\.\./)*(docs/)?(zh-CN/)?|\.zh-CN(?=\.md)", "", target) for target in found)

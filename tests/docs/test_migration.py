"""docs/migration.md: what its column "here" names is there, and takes the values that are written beside it."""

import re
from dataclasses import fields

import pytest

from conftest import ROOT
from documentation import read_page
from utils.config.flags import FLAGS
from utils.config.keys import IGNORED_KEYS, SECTIONS
from utils.config.loading import load_config

PAGE = read_page("docs/migration.md")
KEY = re.compile(rf"((?:{'|'.join(SECTIONS)})\.\w+)(?:(?:=|: )(.+))?")


def ours() -> list[str]:
    """Return what stands in backticks in the last column, "here", of each table."""
    tables = re.findall(r"(?:^\|.*\|\n)+", PAGE, re.MULTILINE)
    rows = [re.split(r"(?<!\\)\|", line)[-2].strip() for table in tables for line in table.splitlines()]
    assert rows.count("here") == len(tables)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


SETS = sorted({name.removeprefix("--set ") for name in ours() if KEY.fullmatch(name.removeprefix("--set "))})
GIVEN = sorted({name for name in ours() if name.startswith("--") and not name.startswith("--set ")})
FILES = {name for name in ours() if re.fullmatch(r"[\w/.]+\.(py|yaml|sh)", name)}


@pytest.mark.parametrize("text", SETS)
def test_keys_exist_and_take_the_values_written(text):
    name, value = KEY.fullmatch(text).groups()
    section, key = name.split(".")
    assert key in [field.name for field in fields(SECTIONS[section])]
    if value:
        load_config(ROOT / "configs" / "tsn.yaml", {}, [f"{name}={value}"])


def test_flags_exist():
    assert {name.removeprefix("--").partition("=")[0] for name in GIVEN} <= {flag.name for flag in FLAGS}
    assert len(SETS) > 50 and len(GIVEN) > 20  # they were found at all


def test_files_exist():
    assert len(FILES) > 5 and [name for name in FILES if not (ROOT / name).exists()] == []


def test_every_key_of_the_original_without_effect_is_named():
    assert [key for key in IGNORED_KEYS if f"`{key}`" not in PAGE] == []

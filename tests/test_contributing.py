"""Check CONTRIBUTING.md: its commands run, the files that it names exist, and its table has every room."""

import ast
import re
from pathlib import Path

import pytest

from conftest import ROOT, copy_repository, python_files, run_command
from documentation import commands, english_pages, read_page

GUIDE = read_page("CONTRIBUTING.md")
NAMES = [name for name in re.findall(r"`([^`\n]+)`", GUIDE) if re.fullmatch(r"[\w.-]+(/[\w.-]*)*(:[\w.]+)?", name)]
PLACES = sorted({name for name in NAMES if "/" in name or re.search(r"\.(py|md|sh|toml|txt)$", name)})


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("contributing") / "copy"
    copy_repository(folder)
    return folder


# tests/docs/test_commands.py runs those that stand in another page, too.
ELSEWHERE = {command for page in english_pages() for command in commands(read_page(page))}


@pytest.mark.parametrize("command", [command for command in commands(GUIDE) if command not in ELSEWHERE])
def test_command_of_the_guide_runs(command, copy):
    if "fuzz" in command and not Path("/proc/self/clear_refs").exists():
        pytest.skip("measures memory in /proc")
    shell = run_command(command, copy)
    assert shell.returncode == 0, shell.stdout[-2000:] + shell.stderr[-2000:]
    assert "Traceback" not in shell.stderr


def test_guide_shows_how_to_run_each_kind():
    for start in ("bash run.sh test tests/", "python -m pytest tests/", "python tests/fuzz", "python benchmarks/"):
        assert any(command.startswith(start) for command in commands(GUIDE)), start


@pytest.mark.parametrize("place", PLACES)
def test_what_the_guide_names_is_there(place):
    path, _, name = place.partition(":")
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()
    if name:
        body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        for part in name.split("."):
            [found] = [node for node in body if part in names_of(node)]
            body = getattr(found, "body", [])


def names_of(node: ast.stmt) -> list[str]:
    """Return the names that a statement defines: functions, classes, variables."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
    return [getattr(target, "name", getattr(target, "id", "")) for target in targets]


def test_the_map_has_every_room_and_script():
    rows = re.findall(r"^\| (`.+?`) \| ", GUIDE.split("\n## ")[1], re.MULTILINE)
    ours = {"configs/", "tests/"}
    for path in python_files():
        if path.parts[0] != "tests":
            ours.add(f"{path.parent.as_posix()}/" if path.parent.name else path.name)
    rooms = [room.strip("`") for row in rows for room in row.split()]
    assert sorted(rooms) == sorted(ours)  # each once

"""Check the structure: allowed imports between rooms, no import cycle, no paddle at the start, no long file."""

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import resolve_name

import pytest

from conftest import ROOT, python_files

# Each room, and the rooms below it that its files may import.
LOW = {"utils", "reader", "models", "models.weights", "models.graphs", "metrics"}
ANSWERS = LOW | {"inference", "results"}
DATA = {"tools.peers", "data.lists", "data.checks", "data.copies"}
BELOW = {
    "utils": set(),
    "reader": {"utils"},
    "models": {"utils"},
    "models.weights": {"models", "utils"},
    "models.graphs": {"models", "models.weights", "utils"},
    "metrics": {"utils"},
    "inference": LOW,
    "results": LOW | {"inference"},
    "training": LOW | {"inference"},
    "apps.cluster": ANSWERS,
    "apps.serving": ANSWERS,
    "apps.live": ANSWERS,
    "apps.doctor": LOW | {"inference", "training"},
    "scripts": ANSWERS | {"apps.cluster", "apps.live", "apps.serving", "training"},
    "data.lists": {"results", "reader", "utils"},
    "data.checks": {"data.lists", "reader", "utils"},
    "data.copies": {"data.checks", "apps.cluster", "reader", "utils"},
    "data": {"apps.cluster", "metrics", "reader", "results", "utils"} | DATA,
    "tools.peers": {"reader", "utils"},
    "tools": {"data", "data.lists", "metrics", "reader", "results", "tools.peers", "utils"},
    "docs": {"utils"},
    "benchmarks": ANSWERS | {"training", "data"} | DATA,
}


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Yield all statements of the tree, also those within other statements."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield node
            yield from statements(node)


def imports(source: str, package: str) -> set[str]:
    """Return all our modules that a file of `package` imports, also within functions and for type checkers."""
    found = set()
    for node in statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found & FILES.keys()


# The names of modules, which for tests begin below tests/.
FILES = {".".join(p.with_suffix("").parts).removeprefix("tests.").removesuffix(".__init__"): p for p in python_files()}
FOLDERS = {m: ".".join(path.parent.parts) or "scripts" for m, path in FILES.items() if path.parts[0] != "tests"}
del FOLDERS["apps"]  # it has four rooms
ROOMS = {m: next((r for r in (m, folder) if r in BELOW), folder.split(".")[0]) for m, folder in FOLDERS.items()}


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """Provide the modules of ours that each module imports."""
    return {m: imports((ROOT / path).read_text("utf-8"), ".".join(path.parent.parts)) for m, path in FILES.items()}


def test_no_file_imports_one_that_imports_it(graph):
    graphlib.TopologicalSorter(graph).prepare()  # its error names the files of a cycle


@pytest.mark.parametrize("room", sorted({*BELOW, *ROOMS.values()}))
def test_a_room_imports_those_below_it_alone(room, graph):
    allowed = BELOW[room] | ({room} - {"scripts"})  # no script imports another
    arrows = [(module, other) for module in ROOMS if ROOMS[module] == room for other in graph[module]]
    assert arrows and [(module, other) for module, other in arrows if ROOMS.get(other) not in allowed] == []


def test_each_file_has_a_name_of_its_own():
    ours = (
        FILES[module] for module, room in ROOMS.items() if room != "benchmarks"
    )  # benchmarks have the names of the files that they time
    names = Counter(path.name for path in ours if path.name != "__init__.py")
    assert [name for name, number in names.items() if number > 1] == []


def test_each_class_has_a_name_of_its_own():
    ours = [ROOT / FILES[module] for module, room in ROOMS.items() if room != "benchmarks"]
    names = Counter(
        node.name
        for path in ours
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert [name for name, number in names.items() if number > 1] == []


def test_a_newcomer_sees_few_folders():
    folders = {path.parts[0] for path in FILES.values() if len(path.parts) > 1} | {"configs"}
    assert len(folders) <= 14


def test_readers_and_help_start_without_paddle():
    modules = [module for module, room in ROOMS.items() if room in ("reader", "utils", "scripts")]
    program = f"import sys, {', '.join(modules)}; sys.exit('paddle' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_no_file_is_longer_than_300_lines():
    lengths = {module: len((ROOT / FILES[module]).read_text("utf-8").splitlines()) for module in ROOMS}
    assert {module: length for module, length in lengths.items() if length > 300} == {}


def test_a_run_has_all_its_attributes_from_the_start():
    [run] = [node for node in ast.parse((ROOT / "training/run.py").read_text("utf-8")).body if hasattr(node, "bases")]
    stored = {
        (method.name == "__init__", node.attr)
        for method in run.body
        for node in ast.walk(method)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.value.id == "self"
    }
    assert {name for at_start, name in stored if not at_start} <= {name for at_start, name in stored if at_start}


WAYS = "import os, utils.log|import utils.log as x|from utils.log import say|from utils import log|from .log import say"
WAYS += "|from . import log|def f():\n    from utils import log|if TYPE_CHECKING:\n    from utils.log import say"


@pytest.mark.parametrize("source", WAYS.split("|"))
def test_every_way_to_import_is_seen(source):
    assert "utils.log" in imports(source, "utils")

"""peer_python.py: values of Python configurations are read and never run, also those of hostile files."""

import os
import time
from pathlib import Path

import pytest

from tools.peers.peer_python import Unread, read_python
from utils.errors import InputError


def read(folder: Path, text: str, **others: str) -> dict:
    for name, content in others.items():
        (folder / f"{name}.py").write_text(content)
    (folder / "x.py").write_text(text)
    return read_python(str(folder / "x.py")).values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("'''A text.'''\na = dict(x=1, **dict(y=[2, (3,)]))\nb = -1.5", {"a": {"x": 1, "y": [2, (3,)]}, "b": -1.5}),
        ("n = 5\na = [128, 2] * n\nb = 2 * n + 1\nc = n / 2", {"n": 5, "a": [128, 2] * 5, "b": 11, "c": 2.5}),
        ("n = 1\na = f'split_{n}.txt'\nb = 'x' 'y' + 'z'", {"n": 1, "a": "split_1.txt", "b": "xyz"}),
        ("a = dict(x=[dict(y=1)])\na['x'][0]['y'] = 4", {"a": {"x": [{"y": 4}]}}),
        ("a = dict(x=1)\nb = a\nb['x'] = 2", {"a": {"x": 1}, "b": {"x": 2}}),  # a copy, not the same dictionary
        ("a: int = 3\nb = dict(a=a)['a']", {"a": 3, "b": 3}),
        ("a = {2: 4, 'b': None}", {"a": {2: 4, "b": None}}),
        ("a = open('made', 'w')", {"a": Unread("open('made', 'w')")}),
        ("a = dict(x=1 / 0, y=lambda: 1)", {"a": {"x": Unread("1 / 0"), "y": Unread("lambda: 1")}}),
        ("a = b", {"a": Unread("b")}),
        ("a = [i for i in range(3)]", {"a": Unread("[i for i in range(3)]")}),
        ("a = f'{1:>9999999}'", {"a": Unread("f'{1:>9999999}'")}),
    ],
)
def test_values_and_unread_expressions(text, values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read(tmp_path, text) == values and os.listdir(tmp_path) == ["x.py"]


def test_children_are_merged_over_their_bases(tmp_path):
    base = "model = dict(head=dict(n=1, m=2), body=dict(k=1))\nlist = [1, 2]\nroot = 'data'"
    text = "_base_ = ['./base.py']\nmodel = dict(head=dict(n=3), body=dict(_delete_=True, j=2))\nlist = [3]"
    values = {"model": {"head": {"n": 3, "m": 2}, "body": {"j": 2}}, "list": [3], "root": "data"}
    assert read(tmp_path, text, base=base) == values
    assert read(tmp_path, "_base_ = 'base.py'\nfolder = _base_.root + '/x'", base=base)["folder"] == "data/x"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = (", "x.py:1: expected Python: '(' was never closed"),
        ("a = 1\n\0", "x.py:1: expected Python: source code string cannot contain null bytes"),
        ("a = " + "[" * 99_000, "x.py:1: expected Python: too many nested parentheses"),
        ("a = " + "-" * 99_000 + "1", "x.py: expected Python: "),
        ("a = 1" + "+1" * 49_000, "x.py: expected Python: "),
        ("a = b" + ".c" * 49_000, "x.py: expected Python: "),
        ("a = b" + "[0]" * 33_000, "x.py: expected Python: "),
        ("a = " + "not " * 24_000 + "1", "x.py: expected Python: "),
        ("a = 1\n" + "b" * 100_000, "x.py: larger than 100000 bytes: not a configuration"),
        ("a = [1, 1]\n" + "a = [a, a]\n" * 60, "x.py: its values are too many or too deep"),
        ("a = [1]\n" + "a = a * 1000\n" * 9, "x.py: its values are too many or too deep"),
        ("a = dict(x=1)\n" + "a = dict(x=a)\n" * 90, "x.py: its values are too many or too deep"),
        ("a = dict(x=1)\n" + "a['x'] = a\n" * 90, "x.py: its values are too many or too deep"),
        ("_base_ = 'x.py'", "x.py: _base_ x.py: a file cannot be its own base"),
        ("_base_ = 'none.py'", "x.py: _base_ none.py: no such file: "),
        ("_base_ = '/etc/passwd'", "x.py: _base_ /etc/passwd: expected the path of a .py file"),
        ("_base_ = '../../../../../../../x.py'", "x.py: _base_ ../../../../../../../x.py: no such file: "),
        ("_base_ = 'mmaction::a.py'", "x.py: _base_ mmaction::a.py: no such file: "),
        ("_base_ = [1]", "x.py: _base_ 1: expected the path of a .py file"),
        ("_base_ = ['small.py'] * 21", "x.py: more than 20 files of _base_"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_hostile_files_end_soon(text, problem, tmp_path):
    start = time.monotonic()
    with pytest.raises(InputError) as error:
        read(tmp_path, text, small="a = 1")
    assert str(error.value).startswith(f"{tmp_path}/{problem}") and "\n" not in str(error.value)
    assert time.monotonic() - start < 5


def test_texts_and_numbers_do_not_grow(tmp_path):
    grown = read(tmp_path, "a = 'xxxxxxxxxx'\nb = 9\nc = 9.5\n" + "a = a + a\nb = b * b\nc = c * c\n" * 60)
    assert {type(value) for value in grown.values()} == {Unread}

"""Type checkers accept a user's correct program, and find wrong keys and arguments in it."""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import ROOT

PROGRAM = """
from pathlib import Path
import numpy as np
from inference.api import Answer, Classifier, ListAnswer

with Classifier("configs/tsn.yaml", "TSN.pdparams") as classify:
    one: Answer = classify(Path("a.mp4"), topk=3)
    label: str = one["predictions"][0]["label"]
    share: float = classify(np.zeros((9, 36, 48, 3), np.uint8))["predictions"][0]["probability"]
    with open("a.mp4", "rb") as file:
        classify(file)
    for answer in classify(["a.mp4", b"...", Path("b.mp4")]):
        if "error" in answer:
            print(answer["video"], answer["error"])
    several: list[ListAnswer] = list(classify(path for path in ["a.mp4"]))
    classify("a.mp4")["prediction"]  # wrong
    classify("a.mp4")["predictions"][0]["name"]  # wrong
    classify(7)  # wrong
    classify("a.mp4", k=3)  # wrong
"""
WRONG = {number for number, line in enumerate(PROGRAM.splitlines(), start=1) if "# wrong" in line}
# mypy need not follow any import of inference.api but NumPy.
MYPY = """[mypy]
mypy_path = {}
follow_imports = skip
[mypy-inference.*,numpy.*]
follow_imports = silent
"""


@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_checkers_find_what_is_wrong_and_nothing_else(checker, tmp_path):
    if find_spec(checker) is None:
        pytest.skip("pip install -r requirements-test.txt")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mypy.ini").write_text(MYPY.format(ROOT))
    settings = {"extraPaths": [str(ROOT)], "typeCheckingMode": "standard"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [Path(sys.executable).parent / checker, "program.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    found = {int(line) for line in re.findall(r"program\.py:(\d+):.*\berror\b", ended.stdout)}
    assert found == WRONG, ended.stdout + ended.stderr

"""Check every file with the pinned version of ruff and the rules of pyproject.toml."""

import re
import subprocess
import sys
from importlib import metadata

import pytest
import yaml

from conftest import ROOT, python_files

[PIN] = re.findall(r"^ruff==.+$", (ROOT / "requirements-test.txt").read_text(), re.MULTILINE)


@pytest.mark.parametrize("arguments", ["check", "format --check --diff"])
def test_ruff_finds_nothing(arguments):
    # The files by name, without those of a virtual environment or of earlier runs.
    command = [sys.executable, "-m", "ruff", *arguments.split(), "--no-cache", *map(str, python_files())]
    ruff = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ruff.returncode == 0, f"{ruff.stdout}\n{ruff.stderr}"


def test_there_is_one_version_of_ruff():
    assert f"ruff=={metadata.version('ruff')}" == PIN, "pip install -r requirements-test.txt"
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [(hook["entry"].split()[:2], hook["additional_dependencies"]) for hook in repository["hooks"]] == [
        (["ruff", "check"], [PIN]),
        (["ruff", "format"], [PIN]),
    ]

"""Test the check of installed packages, with those of this Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

# Each name of a package, its version, and what it requires.
PACKAGES = {
    "tool": ("1.0", ["Part >=2", "gone; extra == 'more'", "gone; python_version < '3'", "part; extra == 'same'"]),
    "part": ("2.1", ["tool"]),  # in a circle
    "old-tool": ("1.0", ["part>=3"]),
    "deep-tool": ("1.0", ["old-tool"]),
}


def exit_code(words: list[str], folder: Path) -> int:
    program = [sys.executable, "-P", str(ROOT / "utils/installed.py")]
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run([*program, *words], cwd=folder, env=environment, capture_output=True, timeout=60).returncode


@pytest.mark.parametrize("words, code", [
    (["numpy"], 0),
    (["numpy>=2.0,<3", "PyYAML"], 0),  # another spelling of its name
    (["numpy>=1,<2"], 1),  # another version
    (["numpy", "no-such-package"], 1),
    (["no-such-package; python_version < '3'"], 0),
    (["-r", "all.txt"], 0),
    (["-r", "more.txt"], 1),
    (["-r", "no.txt"], 1),
])  # fmt: skip
def test_all_that_is_named_must_be_there_in_its_version(tmp_path, words, code):
    (tmp_path / "all.txt").write_text("# A comment.\n\nnumpy>=2  # another\npyyaml\n")
    (tmp_path / "more.txt").write_text("-r all.txt\nno-such-package\n")
    assert exit_code(words, tmp_path) == code


@pytest.mark.parametrize("wanted, code", [
    ("tool", 0), ("tool[same]", 0), ("tool[more]", 1), ("old-tool", 1), ("deep-tool", 1), ("part", 0),
])  # fmt: skip
def test_what_a_package_requires_must_be_there_too(tmp_path, wanted, code):
    for name, (version, requires) in PACKAGES.items():
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
        (folder / "METADATA").write_text("Metadata-Version: 2.1\n" + "".join(f"{line}\n" for line in lines))
    assert exit_code([wanted], tmp_path) == code

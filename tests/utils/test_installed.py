"""Test the check of installed packages, with those of this Python."""

import subprocess
import sys

import pytest

from conftest import ROOT


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
    program = [sys.executable, "-P", str(ROOT / "utils/installed.py")]
    ended = subprocess.run([*program, *words], cwd=tmp_path, capture_output=True, timeout=60)
    assert ended.returncode == code

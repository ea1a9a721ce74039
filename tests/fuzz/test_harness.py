"""The fuzzing process and its parent notice each promise that a reader can break."""

import re
from pathlib import Path

import pytest

from fuzz import harness

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="measures memory in /proc")

# A reader that misbehaves in the way that the number of its file says.
READER = """
import os, sys, time
from fuzz.child import run
from fuzz.target import Target

def read(path, rng):
    match int(path.read_text()):
        case 1: os.abort()
        case 2: time.sleep(60)
        case 3: raise KeyError("a defect")
        case 4: bytearray(b"1") * (80 << 20)
        case 5: os.write(2, b"noise")
        case 6: os.open(os.devnull, os.O_RDONLY)
        case 7: open(os.environ["TMPDIR"] + "/left", "w").close()
        case 8: raise ValueError("two\\nlines")
        case 9: raise ValueError("one line")

def write(folder, rng, number):
    (folder / "file").write_text(str(number))
    return folder / "file"

run(Target(write, read, (ValueError,), memory=50), *sys.argv[1:])
"""
COMPLAINTS = {
    1: "the process ended with -6",
    2: "no end after 2 s",
    3: "raised: KeyError: 'a defect': Traceback ",
    4: r"ok: : \d\d MB of memory, 50 allowed",
    5: "ok: : something was written to stderr",
    6: "ok: : open files: ",
    7: "ok: : files left behind: .'left'.",
    8: "refused: two\nlines: its text is no line: ",
}


def test_every_complaint(tmp_path, monkeypatch):
    (tmp_path / "reader.py").write_text(READER)
    monkeypatch.setattr(harness, "CHILD", tmp_path / "reader.py")
    monkeypatch.setattr(harness, "TIME_LIMIT", 2.0)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    kept = tmp_path / "kept"
    summary = harness.run("reader", seed=7, first=0, last=11, keep=kept)
    assert [finding.number for finding in summary.findings] == list(COMPLAINTS)
    for finding in summary.findings:
        assert re.match(COMPLAINTS[finding.number], finding.complaint)
        assert (kept / f"reader_7_{finding.number}" / "file").read_text() == str(finding.number)
    assert summary.outcomes == {"ok": 6, "refused": 2, "raised": 1, "died": 1, "hung": 1}
    assert summary.texts[9] == "one line" and summary.hungriest[1] == 4
    assert str(summary.findings[1]) == "reader --seed 7 --only 2: no end after 2 s"


def test_a_process_that_does_not_start_is_no_finding(tmp_path, monkeypatch):
    (tmp_path / "reader.py").write_text("raise SystemExit('there is no reader')")
    monkeypatch.setattr(harness, "CHILD", tmp_path / "reader.py")
    with pytest.raises(RuntimeError, match="there is no reader"):
        harness.run("reader", seed=0, first=0, last=5)

"""A training that runs out of memory ends with one line, in a step or in validation."""

import os

import pytest

from conftest import ROOT, run_python

OUT = "Out of memory error on GPU 0. Cannot allocate 1GB memory on GPU 0, available memory is only 7MB"
# train.py, whose step or validation runs out of memory.
PROGRAM = f"""
import sys
sys.path.append({str(ROOT / "tests")!r})
import train
from narrow import narrow
from training.amp import Amp
from training import sources
from utils.cli import run

def fail(*arguments):
    raise MemoryError("ResourceExhaustedError:\\n\\n{OUT}.\\n\\nPlease check whether ...")

narrow(setattr)
if sys.argv.pop() == "step":
    Amp.backward = fail
else:
    sources.eager_start = lambda *arguments: fail
run(train.main)
"""


@pytest.mark.parametrize("where, remedy", [
    ("step", "set TRAIN.batch_size smaller, and TRAIN.accumulate_steps larger by as much for the same steps"),
    ("validation", "set VALID.batch_size smaller"),
])  # fmt: skip
def test_a_lack_of_memory_is_one_line(workspace, tmp_path, where, remedy):
    flags = [workspace.config, "--pretrain=none", "--epoch=1", f"--save_dir={tmp_path / 'run'}", "--report=False"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = run_python(["-c", PROGRAM, *flags, where], environment, ROOT, 120, kind="train")
    errors = [line for line in ended.stderr.splitlines() if "|" not in line]  # without the progress bar
    assert (ended.returncode, errors) == (1, [f"error: out of memory on the cpu: {OUT}: {remedy}"])
    saved = {path.name for path in (tmp_path / "run").glob("*.pdparams")}
    assert saved == (set() if where == "step" else {"TSN_epoch0.pdparams"})

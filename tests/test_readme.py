"""The README's commands, run as they stand in a copy of the repository, and its tables against what the code says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, make_clip, run_command, synthetic_frames
from utils.config import flags, loading
from weight_formats import write_original_pdparams

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the repository with a small demo set, a clip, a list, and random weights in the original's format."""
    folder = tmp_path_factory.mktemp("readme") / "copy"
    written = ("demo", "checkpoints", "*_results", "inference_model", "__pycache__", "tests", "benchmarks")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", *written, "runs"))
    make_demo = [sys.executable, "data/make_demo.py", "--clips_per_class", "2", "1", "1"]
    subprocess.run(make_demo, cwd=folder, check=True, capture_output=True, timeout=120)
    make_clip(folder / "clip.mp4", synthetic_frames(0, 0))
    (folder / "infer.list").write_text("clip.mp4\n")
    write_original_pdparams(folder / "TSN.pdparams", num_layers=50, num_classes=400)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_command_of_the_readme_runs(command, copy):
    shell = run_command(command, copy)
    assert shell.returncode == 0, shell.stderr[-2000:]
    assert "Traceback" not in shell.stderr


def test_readme_shows_every_way_to_run():
    for script in (
        "train.py",
        "eval.py",
        "predict.py",
        "export.py",
        "run.sh predict",
        "run.sh train",
        "run.sh inference",
    ):
        assert any(script in command for command in COMMANDS), script


@pytest.mark.parametrize("table", [flags.reference_table(), loading.reference_table()], ids=["flags", "keys"])
def test_table_of_the_readme_is_what_the_code_says(table):
    assert table in README


def test_every_file_the_readme_links_to_exists():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target

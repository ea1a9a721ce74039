"""No script writes to a folder while another run writes there."""

import os
import shutil

import pytest

from conftest import ROOT, run_python, says, snapshot
from make_fixtures import FIXTURES
from utils.storage import lock
from utils.storage.lock import FolderLock

PROGRAM = f"""
import importlib, sys
sys.path.insert(0, {str(ROOT)!r})
from utils.storage import lock
from utils.cli import run
lock.PATIENCE = 0.0
run(importlib.import_module(sys.argv.pop(1)).main)
"""
NETWORK = ["--use_gpu=False", "--precision=float32"]
COMMANDS = {
    "train": ["{config}", "--pretrain=none", "--use_gpu=False"],
    "eval": ["{config}", "{weights}", *NETWORK],
    "predict": ["{config}", "{weights}", *NETWORK],
    "predict of one video": ["{config}", "{weights}", *NETWORK, "--video_path={clip}"],
    "export": ["{config}", "{weights}"],
    "data.reencode": ["train.list"],
    "data.check": ["train.list", "--config={yaml}"],
    "data.make_lists": ["--videos", "videos"],
    "tools.repeat": ["--config={yaml}", "--seeds=2"],
    "data.make_demo": ["--clips_per_class", "1", "1", "1"],
}


@pytest.mark.skipif(lock.fcntl is None, reason="there are no locks")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_run_is_refused_and_touches_nothing(workspace, tmp_path, name):
    (tmp_path / "videos/waving").mkdir(parents=True)
    for number in range(3):
        shutil.copy(FIXTURES / "h264.mp4", tmp_path / f"videos/waving/{number}.mp4")
    (tmp_path / "train.list").write_text("videos/waving/0.mp4 0\n")
    (tmp_path / "out").mkdir()
    named = "--out out" if name.startswith(("data.", "tools.")) else "--save_dir=out"
    known = {
        "config": workspace.config, "yaml": workspace.folder / "tiny.yaml", "weights": workspace.weights,
        "clip": workspace.videos[0][0],
    }  # fmt: skip
    flags = [flag.format(**known) for flag in COMMANDS[name]]
    script = name.partition(" ")[0]
    command, kind = (
        ["-c", PROGRAM, script, *flags, *named.split()],
        "train" if script in ("train", "export") else "read",
    )
    with FolderLock(tmp_path / "out", "--out out"):
        before = snapshot(tmp_path)
        ended = run_python(command, dict(os.environ), tmp_path, 120, kind=kind)
        assert snapshot(tmp_path) == before
    assert ended.returncode == 1
    who = f"process {os.getpid()} on {os.uname().nodename}"
    says(ended.stderr.splitlines()[-1], f"error: {named}: ", "another run", who, "wait", "another folder")
    if name == "predict of one video":
        assert "model:" not in ended.stdout  # at once, before the network is loaded

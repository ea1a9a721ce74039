"""With a kept graph, no program that answers on a CPU imports paddle: the modules of real runs show it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, run_script, wait_until
from server_process import Server, form, post

# Python imports this file at its start; the scripts run functions registered with atexit.
PROBE = """
import atexit, json, os, sys

def write():
    with open(f"{os.environ['TSN_TEST_MODULES']}/{os.getpid()}.json", "w") as file:
        json.dump([sys.argv[0], sorted(sys.modules)], file)

atexit.register(write)
"""
PROGRAM = """
import sys
from inference.api import Classifier

with Classifier(sys.argv[1], sys.argv[2]) as classify:
    print(classify(sys.argv[3])["predictions"][0]["class_id"], "paddle" in sys.modules)
"""


@pytest.fixture(scope="module")
def kept(workspace, tmp_path_factory) -> None:
    """Keep a graph."""
    folder = tmp_path_factory.mktemp("first")
    ended = run_script("predict", workspace.config, workspace.weights, f"--save_dir={folder}", "--report=False")
    assert ended.returncode == 0, ended.stderr


@pytest.fixture
def probe(tmp_path, monkeypatch, kept) -> Path:
    """Return a folder that gets a file from each process that ends."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "sitecustomize.py").write_text(PROBE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setenv("TSN_TEST_MODULES", str(tmp_path / "modules"))
    return tmp_path / "modules"


def loaded(folder: Path, program: str) -> list[set[str]]:
    """Return the modules of each process of the program."""
    ended = [json.loads(path.read_text()) for path in folder.iterdir()]
    return [set(modules) for name, modules in ended if Path(name).name == program]


@pytest.mark.parametrize(
    "script, flag, number",
    [
        ("eval", "--log_interval=1", 1),
        ("eval", "--nproc=2", 2),
        ("predict", "--log_interval=1", 1),
        ("predict", "--nproc=2", 2),
        ("predict", "--features=True", 1),
        ("predict", "--window=0.2", 1),
    ],
)
def test_a_list(workspace, probe, tmp_path, script, flag, number):
    ended = run_script(script, workspace.config, workspace.weights, flag, f"--save_dir={tmp_path / 'out'}")
    assert (ended.returncode, ended.stderr) == (0, "")
    processes = loaded(probe, f"{script}.py")
    assert sum("openvino" in modules for modules in processes) == number
    assert all("paddle" not in modules for modules in processes)


def test_a_video(workspace, probe, tmp_path):
    flags = f"--video_path={workspace.held_out[0][0]}", f"--save_dir={tmp_path / 'out'}"
    assert run_script("predict", workspace.config, workspace.weights, *flags).returncode == 0
    [modules] = loaded(probe, "predict.py")
    assert "openvino" in modules
    # These take time, too, and only other processes need them, or none.
    assert not modules & {"paddle", "av", "cv2", "urllib.request", "openvino.tools.ovc"}


def test_a_server(workspace, probe, tmp_path):
    pytest.importorskip("fastapi")
    with Server(tmp_path, workspace.config, workspace.weights) as server:
        answer = server.send(post(form(workspace.held_out[0][0].read_bytes())))
        assert b" 200 OK" in answer and b'"predictions"' in answer
    wait_until(lambda: loaded(probe, "serve.py"))
    [modules] = loaded(probe, "serve.py")
    assert "openvino" in modules and "paddle" not in modules


@pytest.mark.parametrize("before, after", [("import paddle", ""), ("", "import paddle; paddle.ones([2])")])
def test_a_notebook_may_import_paddle_before_or_after(workspace, probe, tmp_path, before, after):
    (tmp_path / "program.py").write_text(f"{before}\n{PROGRAM}{after}\n")
    paths = workspace.folder / "tiny.yaml", workspace.folder / "random.pdparams", workspace.held_out[0][0]
    command = [sys.executable, "-W", "ignore", tmp_path / "program.py", *map(str, paths)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    number, has_paddle = ended.stdout.splitlines()[-1].split()
    assert number in "0123" and has_paddle == str(bool(before))

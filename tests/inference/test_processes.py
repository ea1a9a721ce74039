"""predict.py over a long list on several cores: the same answers, and network processes that end with it."""

import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from conftest import ROOT, processes, run_script, wait_until, write_list
from utils.processes.limits import available_cores

pytestmark = pytest.mark.skipif(
    available_cores() < 2 or not Path("/proc/self/maps").exists(), reason="needs two cores and Linux's /proc"
)
SETTINGS = ("--use_gpu=False", "--precision=float32", "--log_interval=1", "--report=False")


def network_processes(mark: str) -> list[int]:
    """The processes with `mark` in their environment that have loaded paddle, predict.py itself left out."""
    found = []
    for pid in processes(mark):
        try:
            started_by_us = b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
            if started_by_us and "libpaddle" in Path(f"/proc/{pid}/maps").read_text():
                found.append(pid)
        except OSError:  # it has just ended
            continue
    return found


@pytest.fixture
def prediction(workspace, tmp_path):
    """A predict.py under way over a list of many hours, whose network processes answer; and their mark."""
    long = write_list(tmp_path / "long.list", workspace.held_out * 20_000)
    mark = uuid.uuid4().hex
    flags = [workspace.config, workspace.weights, *SETTINGS, "--set", f"INFER.filelist={long}"]
    started = subprocess.Popen(
        [sys.executable, "predict.py", *flags, f"--save_dir={tmp_path / 'out'}"],
        cwd=ROOT, env={**os.environ, "TSN_TEST_MARK": mark}, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not started.stdout.readline().startswith(str(workspace.held_out[0][0])):
        assert started.poll() is None, started.stderr.read()
    yield started, mark
    started.kill()
    started.communicate()


def test_the_answers_are_those_of_one_process(workspace, tmp_path):
    """A list as long as needs several processes; its videos repeat, and each is answered alike, in order."""
    folders = {}
    for name, repeats in {"short": 1, "long": 24}.items():
        videos = workspace.held_out * repeats
        flags = [
            workspace.config,
            workspace.weights,
            *SETTINGS,
            "--set",
            f"INFER.filelist={write_list(tmp_path / name, videos)}",
        ]
        folders[name] = tmp_path / f"out {name}"
        ended = run_script("predict", *flags, f"--save_dir={folders[name]}")
        assert (ended.returncode, ended.stderr.count("\n")) == (0, 0), ended.stderr
    short, long = (json.loads((folder / "predictions.json").read_text()) for folder in folders.values())
    assert [entry["video"] for entry in long] == [entry["video"] for entry in short] * 24
    for entry, expected in zip(long, short * 24):
        assert [p["class_id"] for p in entry["predictions"]] == [p["class_id"] for p in expected["predictions"]]
        probabilities = [p["probability"] for p in expected["predictions"]]
        assert [p["probability"] for p in entry["predictions"]] == pytest.approx(probabilities, abs=1e-5)


def test_there_is_one_for_each_core_and_a_killed_one_ends_the_run(prediction):
    started, mark = prediction
    children = network_processes(mark)
    assert len(children) == min(available_cores(), 8)
    os.kill(children[0], signal.SIGKILL)
    _, errors = started.communicate(timeout=60)
    lines = [line for line in errors.splitlines() if "%|" not in line]
    assert (started.returncode, lines) == (1, ["error: a network process ended with signal 9 (Killed)"])
    wait_until(lambda: not processes(mark))


@pytest.mark.parametrize(
    "number, group, code, says",
    [
        (signal.SIGKILL, False, -9, None),
        (signal.SIGTERM, False, 143, "terminated"),
        (signal.SIGINT, True, 130, "interrupted"),
    ],
)
def test_they_end_with_the_script(prediction, number, group, code, says):
    started, mark = prediction
    (os.killpg if group else os.kill)(started.pid, number)
    _, errors = started.communicate(timeout=30)
    lines = [line for line in errors.splitlines() if "%|" not in line]
    assert (started.returncode, lines) == (code, [says] * (says is not None))
    wait_until(lambda: not processes(mark))

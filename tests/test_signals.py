"""Training that is told to stop: it saves first, leaves nobody behind, and goes on later as if nothing had been."""

import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from conftest import ROOT, processes, run_script, wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks processes up in /proc")


def flags(workspace, folder: Path) -> list[str]:
    return [workspace.config, "--pretrain=none", "--fix_random_seed=True", "--log_interval=1", "--epoch=3", f"--save_dir={folder}"]


def start_training(workspace, folder: Path) -> tuple[subprocess.Popen, str]:
    """A training that has just printed its first step, and the mark of its processes."""
    mark = str(uuid.uuid4())
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *flags(workspace, folder)],
        env={**os.environ, "PROCESS_MARK": mark},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if line.startswith("[TRAIN"):
            assert len(processes(mark)) >= 3  # readers are at work
            return process, mark
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize("number, code, said", [(signal.SIGTERM, 143, "terminated\n"), (signal.SIGINT, 130, "interrupted\n")])
def test_a_stopped_training_goes_on_where_it_stood(workspace, tmp_path, number, code, said):
    shared = set(os.listdir("/dev/shm"))
    process, mark = start_training(workspace, tmp_path / "stopped")
    os.killpg(process.pid, number)  # as Ctrl-C in a terminal does, or a service manager
    _, err = process.communicate(timeout=60)
    assert process.returncode == code and err.endswith(said) and "Traceback" not in err
    wait_until(lambda: not processes(mark))
    assert set(os.listdir("/dev/shm")) <= shared
    saved = sorted(path.stem for path in (tmp_path / "stopped").glob("*.pdparams"))
    assert saved and saved[0].startswith("TSN_epoch")

    if number == signal.SIGTERM:
        resumed = run_script("train", *flags(workspace, tmp_path / "stopped"), "--resume=auto")
        assert resumed.returncode == 0 and f"resumed from {tmp_path / 'stopped' / saved[-1]}" in resumed.stdout
        whole = run_script("train", *flags(workspace, tmp_path / "whole"))
        assert whole.returncode == 0
        for name in ("TSN.pdparams", "TSN.pdopt"):
            assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_killed_training_leaves_no_reader(workspace, tmp_path):
    process, mark = start_training(workspace, tmp_path)
    process.kill()
    process.communicate()
    wait_until(lambda: not processes(mark))

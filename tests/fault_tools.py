"""Training as a process that a test may kill, stop, or starve; and what it must leave behind, and what not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np

from conftest import ROOT, Workspace, forgotten, memory_files
from fork_server import fork_server, process_file
from models.weights.reading import read_weights

PATIENCE = 120.0  # seconds; only a broken program, never a slow machine, takes that long


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE, pause: float = 0.01) -> object:
    """Return the first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(pause)
    return value


class Training:
    """A train.py under way, in a process group of its own. `save_dir` and the log of the process lie in `folder`."""

    script = ROOT / "train.py"

    def __init__(self, workspace: Workspace, folder: Path, *flags: str, prefix: tuple[str, ...] = (), **env: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.save_dir, self.log = folder / "save", folder / f"log_{uuid.uuid4().hex[:6]}"
        self.mark = uuid.uuid4().hex  # in the environment of every process that comes from this one
        settings = [
            workspace.config, f"--save_dir={self.save_dir}", "--pretrain=none", "--use_gpu=False", "--log_interval=1",
            "--fix_random_seed=True", "--set", "TRAIN.engine=onednn", *flags,
        ]  # fmt: skip
        for section in ("TRAIN", "VALID"):
            settings += ["--set", f"{section}.num_reader_threads=1"]
        self._stopped: int | None = None
        env = {**os.environ, "OMP_NUM_THREADS": "1", "TSN_TEST_MARK": self.mark, **env}
        env.pop("CUDA_VISIBLE_DEVICES", None)  # empty, it ends paddle.distributed.launch
        self._shared_memory = memory_files()
        if not prefix:
            self.process = fork_server("train").start([str(self.script), *settings], env, self.log)
            return
        command = [sys.executable, *prefix, str(self.script), *settings]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=env, start_new_session=True
            )

    @property
    def output(self) -> str:
        """What it has said so far, without the bars."""
        lines = self.log.read_text(errors="replace").splitlines(keepends=True)
        return "".join(line for line in lines if "%|" not in line)

    @property
    def errors(self) -> list[str]:
        """Its lines that begin with `error: `."""
        return [line for line in self.output.splitlines() if line.startswith("error: ")]

    def says(self, text: str, times: int = 1) -> "Training":
        """Wait until its output has the text."""

        def said() -> bool:
            assert self.process.poll() is None or self.output.count(text) >= times, f"no {text!r} in:\n{self.output}"
            return self.output.count(text) >= times

        wait_for(said, repr(text))
        return self

    def is_silent(self, seconds: float) -> "Training":
        """Wait until it has said nothing for so long: it waits itself."""
        said, since = self.output, time.monotonic()
        while time.monotonic() < since + seconds:
            time.sleep(0.05)
            if (now := self.output) != said:
                said, since = now, time.monotonic()
        return self

    def signal(self, number: int, group: bool = False, rank: int | None = None) -> "Training":
        """Send a signal to it; to its whole process group, as a terminal does; or to one of its ranks."""
        pid = self.process.pid if rank is None else self._rank(rank)
        (os.killpg if group else os.kill)(pid, number)
        return self

    def _rank(self, number: int) -> int:
        """Return the process of a rank. Its readers have the same environment, but another program."""
        variable = f"PADDLE_TRAINER_ID={number}".encode()
        for pid in self.processes():
            if variable in process_file(pid, "environ").split(b"\0") and self.script.name.encode() in process_file(
                pid, "cmdline"
            ):
                return pid
        raise AssertionError(f"no rank {number}")

    def ends(self, code: int, seconds: float = PATIENCE) -> "Training":
        """Wait for its end; nothing of it may be left: no process, no file in /dev/shm."""
        try:
            ended = self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        assert ended == code, f"exit code {ended}, expected {code}:\n{self.output}"
        if self._stopped in self.processes():
            os.kill(self._stopped, signal.SIGCONT)  # suspended, unlike hung in a video, it cannot look for its parent
        # Killed or not: its children look for their parent every now and then.
        wait_for(lambda: not self.processes(), "the end of all its processes", 30)
        wait_for(lambda: not forgotten(self._shared_memory), "an empty /dev/shm", 30)
        return self

    def processes(self) -> list[int]:
        """Return the processes that run with this one's mark in their environment, itself included."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if self.mark.encode() in process_file(pid, "environ")]

    def stop_reader(self) -> "Training":
        """Suspend a reader process: to all others it looks as if it hung in a video."""

        def readers() -> list[int]:
            return [pid for pid in self.processes() if b"spawn_main" in process_file(pid, "cmdline")]

        self._stopped = wait_for(readers, "a reader process")[0]
        os.kill(self._stopped, signal.SIGSTOP)
        return self


class NarrowTraining(Training):
    """The same of a network that has an eighth of the channels; see narrow.py."""

    script = ROOT / "tests" / "narrow.py"


def narrow_at(workspace: Workspace, folder: Path, step: str, *flags: str, **env: str) -> Training:
    """Return such a training when it has just logged the step "Epoch N, iter N", for the second that it rests there."""
    return NarrowTraining(workspace, folder, *flags, TSN_TEST_REST=step, **env).says(step)


def train_narrow(workspace: Workspace, folder: Path, *flags: str, code: int = 0) -> Training:
    """Return such a training that has run to its end."""
    return NarrowTraining(workspace, folder, *flags).ends(code)


def steps(save_dir: Path) -> list[tuple]:
    """Return (mode, epoch, iter, loss, top1_acc) of every line of the JSON log but those of whole epochs."""
    entries = [json.loads(line) for line in (save_dir / "train_log.jsonl").read_text().splitlines()]
    return [(e["mode"], e["epoch"], e["iter"], e["loss"], e["top1_acc"]) for e in entries if e["mode"] != "epoch"]


def manifest(save_dir: Path, name: str = "TSN") -> dict:
    """Return the manifest of a checkpoint."""
    return json.loads((save_dir / f"{name}.json").read_text())


def difference(one: Path, other: Path) -> float:
    """Return the largest difference between two weight files of the same names."""
    a, b = read_weights(one), read_weights(other)
    assert a.keys() == b.keys() and a
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


def copy_run(source: Path, target: Path) -> Path:
    """Return a copy of a save_dir that costs no disk space; files are replaced, never written into, but for the log."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        (shutil.copy if path.suffix == ".jsonl" else os.link)(path, target / path.name)
    return target

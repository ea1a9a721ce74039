"""Training as a process that a test may kill, stop or starve, and the files that it leaves."""

import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from conftest import ROOT, Workspace, forgotten, memory_files
from fork_server import fork_server, process_file
from models.weights.reading import read_weights

PATIENCE = 120.0  # seconds; even a slow machine takes less


def wait_for(condition: Callable[[], object], what: str, seconds: float = PATIENCE, pause: float = 0.01) -> object:
    """Return the first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(pause)
    return value


class Training:
    """A running train.py in its own process group. Its save_dir and its log lie in `folder`.

    TSN_TEST_REST: where it waits until `release`, see narrow.py.
    """

    script = ROOT / "train.py"

    def __init__(self, workspace: Workspace, folder: Path, *flags: str, prefix: tuple[str, ...] = (), **env: str):
        folder.mkdir(parents=True, exist_ok=True)
        self.save_dir, self.log = folder / "save", folder / f"log_{uuid.uuid4().hex[:6]}"
        self.mark = uuid.uuid4().hex  # in the environment of all its processes
        settings = [
            workspace.config, f"--save_dir={self.save_dir}", "--pretrain=none", "--use_gpu=False", "--log_interval=1",
            "--fix_random_seed=True", "--report=False", *flags,
        ]  # fmt: skip
        self._stopped: int | None = None
        self._pipe: int | None = None
        if env.get("TSN_TEST_REST"):
            env["TSN_TEST_PIPE"] = str(folder / f"pipe_{self.mark}")
            os.mkfifo(env["TSN_TEST_PIPE"])
            self._pipe = os.open(env["TSN_TEST_PIPE"], os.O_RDWR)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "TSN_TEST_MARK": self.mark, **env}
        env.pop("CUDA_VISIBLE_DEVICES", None)  # empty, it ends paddle.distributed.launch
        self._shared_memory = memory_files()
        self.process = fork_server("train").start([*prefix, str(self.script), *settings], env, self.log)

    @property
    def output(self) -> str:
        """Return what it has printed so far, without progress bars."""
        lines = self.log.read_text(errors="replace").splitlines(keepends=True)
        return "".join(line for line in lines if "%|" not in line)

    @property
    def errors(self) -> list[str]:
        """Return its lines that begin with `error: `."""
        return [line for line in self.output.splitlines() if line.startswith("error: ")]

    def says(self, text: str, times: int = 1) -> "Training":
        """Wait until the text stands `times` times in its output."""

        def said() -> bool:
            assert self.process.poll() is None or self.output.count(text) >= times, f"no {text!r} in:\n{self.output}"
            return self.output.count(text) >= times

        wait_for(said, repr(text))
        return self

    def is_idle(self) -> "Training":
        """Wait until none of its processes has worked for half a second: each waits for something."""
        before, since = self._work(), time.monotonic()
        while time.monotonic() < since + 0.5:
            time.sleep(0.05)
            if (now := self._work()) != before or "R" in now[1]:
                before, since = now, time.monotonic()
        return self

    def _work(self) -> tuple[str, list[str], int]:
        """Return its output, the states of its processes, and their processor time in ticks."""
        stats = []
        for pid in self.processes():
            with suppress(OSError):  # it has just ended
                stats.append(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split())
        return self.output, [stat[0] for stat in stats], sum(int(ticks) for stat in stats for ticks in stat[11:13])

    def release(self) -> "Training":
        """Let its ranks go on from where TSN_TEST_REST has them wait."""
        os.write(self._pipe, bytes(100))
        return self

    def signal(self, number: int, group: bool = False, rank: int | None = None) -> "Training":
        """Send a signal to the process, to its whole process group as a terminal does, or to one of its ranks."""
        pid = self.process.pid if rank is None else self._rank(rank)
        (os.killpg if group else os.kill)(pid, number)
        return self

    def _rank(self, number: int) -> int:
        """Return a rank's process. Its readers have the same environment, but run another program."""
        variable = f"PADDLE_TRAINER_ID={number}".encode()
        for pid in self.processes():
            if variable in process_file(pid, "environ").split(b"\0") and self.script.name.encode() in process_file(
                pid, "cmdline"
            ):
                return pid
        raise AssertionError(f"no rank {number}")

    def ends(self, code: int, seconds: float = PATIENCE) -> "Training":
        """Wait for its end with this exit code, and until none of its processes and files in /dev/shm is left."""
        try:
            ended = self.process.wait(seconds)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            if self._pipe is not None:
                os.close(self._pipe)
        assert ended == code, f"exit code {ended}, expected {code}:\n{self.output}"
        if self._stopped in self.processes():
            os.kill(self._stopped, signal.SIGCONT)  # only a running reader notices that its parent has ended
        wait_for(lambda: not self.processes(), "the end of all its processes", 30)
        wait_for(lambda: not forgotten(self._shared_memory), "an empty /dev/shm", 30)
        return self

    def processes(self) -> list[int]:
        """Return the processes with this training's mark in their environment, itself included."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if self.mark.encode() in process_file(pid, "environ")]

    def stop_reader(self) -> "Training":
        """Suspend a reader process, as if it hung in a video."""

        def readers() -> list[int]:
            return [pid for pid in self.processes() if b"spawn_main" in process_file(pid, "cmdline")]

        self._stopped = wait_for(readers, "a reader process")[0]
        os.kill(self._stopped, signal.SIGSTOP)
        return self


class NarrowTraining(Training):
    """A training of a network with an eighth of the channels, see narrow.py."""

    script = ROOT / "tests" / "narrow.py"


def narrow_at(workspace: Workspace, folder: Path, step: str, *flags: str, **env: str) -> Training:
    """Return a narrow training that has just logged the step "Epoch N, iter N" and waits there."""
    return NarrowTraining(workspace, folder, *flags, TSN_TEST_REST=step, **env).says(step)


def train_narrow(workspace: Workspace, folder: Path, *flags: str, code: int = 0) -> Training:
    """Return a narrow training that has ended."""
    return NarrowTraining(workspace, folder, *flags).ends(code)


def steps(save_dir: Path) -> list[tuple]:
    """Return (mode, epoch, iter, loss, top1_acc) of each line of the JSON log, without those of whole epochs."""
    entries = [json.loads(line) for line in (save_dir / "train_log.jsonl").read_text().splitlines()]
    return [(e["mode"], e["epoch"], e["iter"], e["loss"], e["top1_acc"]) for e in entries if e["mode"] != "epoch"]


def manifest(save_dir: Path, name: str = "TSN") -> dict:
    """Return the manifest of a checkpoint."""
    return json.loads((save_dir / f"{name}.json").read_text())


def difference(one: Path, other: Path) -> float:
    """Return the largest difference between the weights of two files."""
    a, b = read_weights(one), read_weights(other)
    assert a.keys() == b.keys() and a
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


def copy_run(source: Path, target: Path) -> Path:
    """Return a copy of a save_dir. Only the log is copied; the other files, which runs only replace, are linked."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        (shutil.copy if path.suffix == ".jsonl" else os.link)(path, target / path.name)
    return target

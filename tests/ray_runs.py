"""predict.py with --ray as a real process, and a cluster whose machines are all this one."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from fnmatch import fnmatch
from pathlib import Path

from conftest import ROOT, children, free_port, processes, wait_until
from documentation import commands, read_page
from fork_server import start_python

SHARD = 4  # videos
LOCAL = "--ray=local", f"--shard_size={SHARD}"
# The commands in docs/scale.md for the first machine and for the others. The first machine has this address.
PLACE = "10.0.0.1:6379"
START = [line for line in commands(read_page("docs/scale.md")) if line.startswith("ray start")]
[FLAG] = re.findall(rf"--ray={PLACE}$", read_page("docs/scale.md"), re.MULTILINE)
# The user who starts a cluster sets these; the user's own token is neither read nor written.
AUTHENTICATION = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}


def flags_of(workspace, place: Path, save_dir: Path, *flags: str) -> list[str]:
    return [
        workspace.config, workspace.weights, f"--save_dir={save_dir}", f"--filelist={place / 'videos.list'}",
        "--features=True", "--use_gpu=False", "--precision=float32", "--log_interval=1000", "--report=False",
        "--set", "INFER.video_timeout=3", *flags,
    ]  # fmt: skip


def last_lines(errors: str) -> list[str]:
    """Return the lines of stderr without those of progress bars."""
    return [line for line in errors.splitlines() if "%|" not in line]


class Run:
    """A running predict.py with marked processes. `go` lets its workers compute more shards than TEST_HOLD."""

    def __init__(self, workspace, place: Path, save_dir: Path, *flags: str, **env: str):
        self.save_dir, self.mark, self.go = save_dir, uuid.uuid4().hex, place / "go"
        self.go.unlink(missing_ok=True)
        environment = variables(place, self.mark, env)
        if "--ray=local" in flags:  # it makes its own token
            environment = {name: value for name, value in environment.items() if name not in AUTHENTICATION}
        self.out, self.errors = place / f"{self.mark}.out", place / f"{self.mark}.err"
        command = [str(ROOT / "predict.py"), *flags_of(workspace, place, save_dir, *flags)]
        self.process = start_python(command, environment, self.out, self.errors, place, real=True)

    def says(self, pattern: str, times: int = 1) -> list[str]:
        """Wait until lines match."""

        def said():
            found = re.findall(pattern, self.out.read_text(), re.MULTILINE)
            assert len(found) >= times or self.process.poll() is None, self.errors.read_text()
            return found if len(found) >= times else None

        return wait_until(said, 120)

    def has_parts(self, number: int) -> "Run":
        """Wait until this many shards are done."""

        def done() -> bool:
            assert self.process.poll() is None, self.errors.read_text()
            journal = self.save_dir / "predictions.partial.jsonl"
            known = journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0
            try:
                parts = [name for name in os.listdir(self.save_dir / "parts") if fnmatch(name, "part*.jsonl")]
            except FileNotFoundError:
                parts = []
            return len(parts) + known // SHARD >= number

        wait_until(done, 120)
        return self

    def ends(self, code: int, seconds: float = 120) -> list[str]:
        """Return its lines on stderr, once it and all that it started have ended."""
        assert self.process.wait(seconds) == code, self.errors.read_text()
        wait_until(lambda: not processes(self.mark), 10)
        return last_lines(self.errors.read_text())


def variables(place: Path, mark: str, more: dict[str, str]) -> dict[str, str]:
    return {
        **os.environ, **AUTHENTICATION, "PYTHONPATH": str(place), "TEST_GO": str(place / "go"), "TSN_TEST_MARK": mark,
        "RAY_prestart_worker_first_driver": "0",  # a process per core that nothing here would use
        **more,
    }  # fmt: skip


class Cluster:
    """Machines of a cluster; all of them are this one."""

    def __init__(self, place: Path):
        self._place, self._marks = place, {}
        self.folder = tempfile.mkdtemp(prefix="tsn-", dir="/tmp")  # short, for the paths of sockets
        self.address = f"127.0.0.1:{free_port()}"

    def start(self, name: str, cores: int) -> None:
        """Add a machine; the first one is the head."""
        mark = self._marks[name] = uuid.uuid4().hex
        port = self.address.partition(":")[2]
        first = len(self._marks) == 1
        line = START[0].replace("--port=6379", f"--port={port}") if first else START[1].replace(PLACE, self.address)
        ray, *words = line.split()
        command = [
            str(Path(sys.executable).with_name(ray)), *words, f"--num-cpus={cores}", "--node-ip-address=127.0.0.1",
            f"--object-store-memory={80 << 20}", "--include-log-monitor=False",
        ]  # fmt: skip
        if first:
            command += ["--include-dashboard=False", "--no-monitor", f"--temp-dir={self.folder}"]
        environment = variables(self._place, mark, {"TEST_HOLD": "1"})
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)

    def worker(self, name: str) -> int:
        """Return the process of the actor on a machine."""
        found = [pid for pid in processes(self._marks[name]) if b"ray::Worker" in read(pid, "cmdline")]
        [worker] = [pid for pid in found if b"multiprocessing" not in read(pid, "cmdline")]
        return worker

    def kill(self, name: str) -> None:
        """End all processes of a machine at once."""
        for pid in processes(self._marks[name]):
            os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_) -> None:
        for name in self._marks:
            self.kill(name)
            wait_until(lambda name=name: not processes(self._marks[name]))
        shutil.rmtree(self.folder, ignore_errors=True)


def read(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def descendants(pid: int) -> list[int]:
    """Return the processes that it has started, and that those have started; needs /proc."""
    return [found for child in children(pid) for found in (child, *descendants(child))]


def is_running(pid: int) -> bool:
    state = read(pid, "stat").rpartition(b")")[2].split()
    return bool(state) and state[0] != b"Z"

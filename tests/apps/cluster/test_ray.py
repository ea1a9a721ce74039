"""predict.py --ray and reencode.py --ray on a fake of Ray, and with real workers, machines and runs that are killed.

Whatever happens, the files equal those of a run on one machine without Ray, to the byte.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from apps.cluster.connection import connected
from conftest import ROOT, children, free_port, processes, run_script, snapshot, wait_until, write_list
from documentation import commands, read_page
from fork_server import start_python
from utils.errors import InputError
from utils.storage.lock import FolderLock

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="pip install -r requirements-cluster.txt")

VIDEOS, SHARD = 32, 4
LOCAL = "--ray=local", f"--shard_size={SHARD}"
KINDS = {5: "missing", 14: "hang", 19: "kill", 25: "poison"}  # see cluster_faults.py
# The commands in docs/scale.md for the first machine and for the others. The first machine has this address.
PLACE = "10.0.0.1:6379"
START = [line for line in commands(read_page("docs/scale.md")) if line.startswith("ray start")]
[FLAG] = re.findall(rf"--ray={PLACE}$", read_page("docs/scale.md"), re.MULTILINE)
# The user who starts a cluster sets these; the user's own token is neither read nor written.
AUTHENTICATION = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}


@pytest.fixture(scope="module")
def place(workspace, tmp_path_factory) -> Path:
    """Provide a folder with a list of videos of all KINDS, and cluster_faults.py for processes of real runs."""
    folder = tmp_path_factory.mktemp("cluster")
    shutil.copy(ROOT / "tests/cluster_faults.py", folder / "sitecustomize.py")
    videos = [folder / f"{KINDS.get(number, 'good')} {number}.mp4" for number in range(VIDEOS)]
    for number, video in enumerate(videos):
        if KINDS.get(number) != "missing":
            os.symlink(workspace.videos[number % 10][0], video)
    write_list(folder / "videos.list", [(video, 0) for video in videos])
    return folder


def flags_of(workspace, place: Path, save_dir: Path, *flags: str) -> list[str]:
    return [
        workspace.config, workspace.weights, f"--save_dir={save_dir}", f"--filelist={place / 'videos.list'}",
        "--features=True", "--use_gpu=False", "--precision=float32", "--log_interval=1000", "--report=False",
        "--set", "INFER.video_timeout=3", *flags,
    ]  # fmt: skip


def on_fake(*flags: str, **env: str) -> subprocess.CompletedProcess:
    """Return the ended predict.py with the fake of Ray; its videos do what their names say, with --ray or without."""
    return run_script("tests/fake_ray", *flags, **env)


@pytest.fixture(scope="module")
def alone(workspace, place, tmp_path_factory) -> dict[str, bytes]:
    """Provide the files of a run on one machine without Ray; no video is poisoned."""
    folder = tmp_path_factory.mktemp("alone")
    ended = on_fake(*flags_of(workspace, place, folder))
    assert (ended.returncode, last_lines(ended.stderr)) == (0, [])
    return snapshot(folder)


def last_lines(errors: str) -> list[str]:
    """Return the lines of stderr without those of progress bars."""
    return [line for line in errors.splitlines() if "%|" not in line]


def rows(content: dict[str, bytes]) -> list[dict]:
    return json.loads(content["predictions.json"])


def test_faults_change_no_byte(workspace, place, alone, tmp_path):
    """A worker dies, a machine leaves, another one joins, videos kill and hang their readers, and a shard fails."""
    flags = flags_of(workspace, place, tmp_path, *LOCAL)
    ended = on_fake(*flags, TEST_FAULTS="1", TEST_POISON="1")
    problem = "error: 1 of 8 shards failed; run the command again to compute only these"
    assert (ended.returncode, last_lines(ended.stderr)) == (1, [problem])
    ready = [line for line in ended.stdout.splitlines() if line.startswith("worker on ")]
    assert ready == [f"worker on {host}, 2 cores: ready" for host in "abbc"]
    poisoned = re.escape(f"{place / 'poison 25.mp4'}: RuntimeError: poisoned (")
    assert re.search(rf"^shard 6 \(positions 24 to 27\) failed 3 times: {poisoned}", ended.stdout, re.MULTILINE)
    assert not (tmp_path / "predictions.json").exists()

    ended = on_fake(*flags)
    assert (ended.returncode, last_lines(ended.stderr)) == (0, [])
    # The failed shard is computed, and the three shards with unreadable videos, which may be readable now.
    assert "\n4 of 8 shards are done already\n" in ended.stdout
    assert f"\npredicted 29 of 32 videos, 3 unreadable; written to {tmp_path}\n" in ended.stdout
    assert snapshot(tmp_path) == alone
    errors = {row["video"][len(str(place)) + 1 :]: row["error"] for row in rows(alone) if "error" in row}
    assert errors == {
        "missing 5.mp4": "no such file", "hang 14.mp4": "given up after 3 s",
        "kill 19.mp4": "its reader process ended with signal 9 (Killed), twice",
    }  # fmt: skip


def test_a_folder_in_use_is_refused_before_workers_are_waited_for(workspace, place, tmp_path):
    with FolderLock(tmp_path, "--save_dir"):
        ended = on_fake(*flags_of(workspace, place, tmp_path, *LOCAL))
    busy = r"another run is writing there \(process \d+ on .+\): wait until it ends, or name another folder"
    assert ended.returncode == 1 and ended.stdout == ""
    assert re.fullmatch(f"error: --save_dir={re.escape(str(tmp_path))}: {busy}\n", ended.stderr)


def test_an_address_without_a_cluster():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*nobody.getsockname())
        with pytest.raises(InputError) as error, connected(address):
            pass
    assert str(error.value).startswith(f"--ray={address}: no Ray cluster answers there: Connection refused; ")


def test_reencoding(workspace, tmp_path):
    videos = [*workspace.videos[:3], (tmp_path / "missing.mp4", 1)]
    write_list(tmp_path / "some.list", videos)
    for out, more in (("alone", []), ("shared", ["--ray=local"])):
        flags = ["some.list", f"--out={out}", "--short_side=24", *more]
        ended = run_script("tests/fake_ray", *flags, cwd=tmp_path, TSN_TEST_SCRIPT="data.reencode", TEST_FAULTS="1")
        assert ended.returncode == 0, ended.stderr
        assert f"{out}/some.list: 3 videos (3 re-encoded now, 0 there already), 1 unreadable\n" in ended.stdout
    alone, shared = snapshot(tmp_path / "alone"), snapshot(tmp_path / "shared")
    assert alone.pop("some.list").replace(b"alone/", b"shared/") == shared.pop("some.list")
    sources = [sorted(files.pop("reencode.jsonl").splitlines()) for files in (alone, shared)]  # in any order
    assert sources[0] == sources[1] and len(sources[0]) == 4
    assert shared == alone and len(shared) > 4


# With real Ray


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


@needs_ray
def test_a_run_a_worker_and_a_machine_end_on_a_cluster(workspace, place, alone, tmp_path):
    """Each worker computes a shard and stops in the next one."""
    with Cluster(place) as cluster:
        cluster.start("first", 1)
        flags = FLAG.replace(PLACE, cluster.address), LOCAL[1]
        run = Run(workspace, place, tmp_path, *flags).has_parts(1)
        run.process.terminate()
        assert run.ends(143) == ["terminated"]
        run = Run(workspace, place, tmp_path, *flags)
        run.says("^1 of 8 shards are done already$")
        run.has_parts(2)
        os.kill(cluster.worker("first"), signal.SIGKILL)
        cluster.start("second", 2)
        run.says(r"^worker on \S+, 2 cores: ready$")
        run.says(r"^worker on \S+, 1 core: ready$", times=2)
        run.has_parts(4)
        cluster.kill("second")
        run.go.touch()
        assert run.ends(0) == []
    assert snapshot(tmp_path) == alone


@needs_ray
def test_a_run_on_this_machine_is_killed(workspace, place, alone, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pip install -r requirements-cluster.txt")
    flags = *LOCAL, "--format=parquet"
    run = Run(workspace, place, tmp_path, *flags, TEST_HOLD="1", HOME=str(place / "home")).has_parts(1)
    started = descendants(run.process.pid)
    names = [read(pid, "cmdline") for pid in started]
    # Two of Ray's agents write a title over their environment, and over the mark in it.
    assert len(started) > 8 and sum(b"Agent" in name for name in names) == 2
    run.process.kill()
    assert run.ends(-signal.SIGKILL) == []  # within 10 s
    wait_until(lambda: not any(map(is_running, started)), 10)
    assert not (place / "home").exists()  # without a token, Ray writes one there

    ended = on_fake(*flags_of(workspace, place, tmp_path, *flags))
    assert (ended.returncode, last_lines(ended.stderr)) == (0, [])
    assert sorted(os.listdir(tmp_path)) == [
        ".made.json", "config.yaml", "predictions.jsonl", "predictions.parquet",
    ]  # fmt: skip
    assert (tmp_path / "predictions.jsonl").read_bytes() == alone["predictions.jsonl"]
    table = parquet.read_table(tmp_path / "predictions.parquet")
    assert len(os.listdir(tmp_path / "predictions.parquet")) == 8
    assert table["position"].to_pylist() == list(range(VIDEOS))
    for row, expected in zip(table.select(["video", "error", "predictions"]).to_pylist(), rows(alone), strict=True):
        assert {key: value for key, value in row.items() if value is not None} == expected
    (tmp_path / "features.npy").write_bytes(alone["features.npy"])
    for row, expected in zip(table["features"].to_pylist(), np.load(tmp_path / "features.npy"), strict=True):
        assert row is None if np.isnan(expected).all() else row == expected.tolist()

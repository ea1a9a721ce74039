"""predict.py --ray with workers, machines, and the run itself killed: what one machine alone leaves, to the byte."""

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
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, children, free_port, processes, snapshot, wait_until, write_list
from documentation import commands, read_page

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="pip install -r requirements-cluster.txt")
parquet = pytest.importorskip("pyarrow.parquet", reason="pip install -r requirements-cluster.txt")

VIDEOS, SHARD = 48, 6
# Seconds a video, where a run is to be found at work: a shard takes longer than whoever looks is kept from looking.
SLOW = 0.3
# What docs/scale.md tells to run on the first machine and on the others, which are at this address.
PLACE = "10.0.0.1:6379"
START = [line for line in commands(read_page("docs/scale.md")) if line.startswith("ray start")]
[FLAG] = re.findall(rf"--ray={PLACE}$", read_page("docs/scale.md"), re.MULTILINE)
# As whoever starts a cluster sets it; nothing of the user's own is read or written.
AUTHENTICATION = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex * 2}
# Run by every Python process with its folder on PYTHONPATH: videos that do something to whoever opens them.
FAULTS = """
import os, signal, sys, time

def act(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        name = os.path.basename(os.fsdecode(arguments[0]))
        if name.startswith("slow"):
            time.sleep(float(os.environ.get("TEST_SLOW", "0")))
        elif name.startswith("hang"):
            time.sleep(1000)
        elif name.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        elif name.startswith("poison") and os.path.exists(os.environ["TEST_POISON"]):
            raise RuntimeError("poisoned")

sys.addaudithook(act)
"""


@pytest.fixture(scope="module")
def place(workspace, tmp_path_factory) -> Path:
    """Provide a folder with a list of videos of every kind, the module of the faults, and `poison`, to set one off."""
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "sitecustomize.py").write_text(FAULTS)
    (folder / "poison").touch()
    kinds = {5: "missing", 14: "hang", 27: "kill", 33: "poison"}
    videos = []
    for number in range(VIDEOS):
        videos.append((folder / f"{kinds.get(number, 'slow')} {number}.mp4", 0))
        if number != 5:
            os.symlink(workspace.videos[number % 10][0], videos[-1][0])
    write_list(folder / "videos.list", videos)
    return folder


class Run:
    """predict.py under way, with marked processes."""

    def __init__(self, workspace, place: Path, save_dir: Path, *flags: str, slow: float = 0.0):
        self.save_dir, self.mark = save_dir, uuid.uuid4().hex
        command = [
            sys.executable, str(ROOT / "predict.py"), workspace.config, workspace.weights, f"--save_dir={save_dir}",
            f"--filelist={place / 'videos.list'}", "--features=True", "--use_gpu=False", "--precision=float32",
            "--log_interval=1000", "--report=False", "--set", "INFER.video_timeout=3", *flags,
        ]  # fmt: skip
        environment = variables(place, self.mark, slow)
        if "--ray=local" in flags:
            environment = {**environment, "HOME": str(place / "home")}
            for name in AUTHENTICATION:
                del environment[name]
        self.out, self.errors = place / f"{self.mark}.out", place / f"{self.mark}.err"
        with open(self.out, "wb") as out, open(self.errors, "wb") as errors:
            self.process = subprocess.Popen(command, cwd=place, env=environment, stdout=out, stderr=errors)

    def says(self, pattern: str, seconds: float = 90) -> re.Match:
        """Wait for a line."""

        def said():
            found = re.search(pattern, self.out.read_text(), re.MULTILINE)
            assert found or self.process.poll() is None, self.errors.read_text()
            return found

        return wait_until(said, seconds)

    def has_parts(self, number: int) -> "Run":
        """Wait until so many shards are done."""

        def done() -> bool:
            assert self.process.poll() is None, self.errors.read_text()
            journal = self.save_dir / "predictions.partial.jsonl"
            rows = journal.read_bytes().count(b"\n") - 1 if journal.exists() else 0
            try:
                parts = [name for name in os.listdir(self.save_dir / "parts") if fnmatch(name, "part*.jsonl")]
            except FileNotFoundError:  # not yet, or not any more
                parts = []
            return len(parts) + rows // SHARD >= number

        wait_until(done, 90)
        return self

    def ends(self, code: int, seconds: float = 120) -> list[str]:
        """Return its lines on stderr but the progress, once it and all that it has started have ended."""
        assert self.process.wait(seconds) == code, self.errors.read_text()
        wait_until(lambda: not processes(self.mark), 10)
        return [line for line in self.errors.read_text().splitlines() if "%|" not in line]


def variables(place: Path, mark: str, slow: float) -> dict[str, str]:
    return {
        **os.environ, **AUTHENTICATION, "PYTHONPATH": str(place), "TEST_POISON": str(place / "poison"),
        "TEST_SLOW": str(slow), "TSN_TEST_MARK": mark,
        "RAY_prestart_worker_first_driver": "0",  # a process per core that nothing here would use
    }  # fmt: skip


@pytest.fixture(scope="module")
def alone(workspace, place, tmp_path_factory) -> dict[str, bytes]:
    """Provide what one machine without Ray leaves, none of its videos poisoned."""
    folder = tmp_path_factory.mktemp("alone")
    (place / "poison").rename(place / "cured")
    assert Run(workspace, place, folder).ends(0) == []
    (place / "cured").rename(place / "poison")
    return snapshot(folder)


class Cluster:
    """Machines of a cluster: all of them are this one."""

    def __init__(self, place: Path):
        self._place, self._marks = place, {}
        self.folder = tempfile.mkdtemp(prefix="tsn-", dir="/tmp")  # short: for the paths of sockets
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
            f"--object-store-memory={80 << 20}",
        ]  # fmt: skip
        if first:
            command += ["--include-dashboard=False", f"--temp-dir={self.folder}"]
        subprocess.run(command, env=variables(self._place, mark, 0.3), check=True, capture_output=True, timeout=120)

    def workers(self, name: str) -> list[int]:
        """Return the processes of the actors on a machine."""
        return workers(self._marks[name])

    def kill(self, name: str) -> None:
        """End all processes of a machine at once."""
        for pid in processes(self._marks[name]):
            os.kill(pid, signal.SIGKILL)


def workers(mark: str) -> list[int]:
    """Return the processes of the actors among those with the mark."""
    found = [pid for pid in processes(mark) if b"ray::Worker" in read(pid, "cmdline")]
    return [pid for pid in found if b"multiprocessing" not in read(pid, "cmdline")]


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


@pytest.fixture(scope="module")
def cluster(place) -> Iterator[Cluster]:
    cluster = Cluster(place)
    try:
        cluster.start("first", 1)
        yield cluster
    finally:
        for name in list(cluster._marks):
            cluster.kill(name)
            wait_until(lambda name=name: not processes(cluster._marks[name]))
        shutil.rmtree(cluster.folder, ignore_errors=True)


def test_machines_come_and_go(workspace, place, alone, cluster, tmp_path):
    flags = (FLAG.replace(PLACE, cluster.address), f"--shard_size={SHARD - 1}")
    run = Run(workspace, place, tmp_path, *flags).has_parts(1)
    [worker] = cluster.workers("first")
    os.kill(worker, signal.SIGKILL)
    cluster.start("second", 2)
    [error] = Run(workspace, place, tmp_path, *flags).ends(1)
    busy = r"another run is writing there \(process \d+ on .+\): wait until it ends, or name another folder"
    assert re.fullmatch(f"error: --save_dir={re.escape(str(tmp_path))}: {busy}", error)
    run.says(r"^worker on \S+, 2 cores: ready$")
    run.says(r"^worker on \S+, 1 core: ready\n(.*\n)*worker on \S+, 1 core: ready$")
    cluster.kill("second")
    [error] = run.ends(1)
    assert error == "error: 1 of 8 shards failed; run the command again to compute only these"
    poisoned = re.escape(f"{place / 'poison 33.mp4'}: RuntimeError: poisoned (")
    run.says(rf"^shard 5 \(positions 30 to 35\) failed 3 times: {poisoned}")
    assert not (tmp_path / "predictions.json").exists()

    (place / "poison").rename(place / "cured")
    run = Run(workspace, place, tmp_path, *flags)
    assert run.ends(0) == []
    # The failed one is done, and the three with a video that could not be read: it may be read now.
    assert "\n4 of 8 shards are done already\n" in run.out.read_text()
    assert f"\npredicted 45 of 48 videos, 3 unreadable; written to {tmp_path}\n" in run.out.read_text()
    (place / "cured").rename(place / "poison")
    assert snapshot(tmp_path) == alone
    errors = {row["video"][len(str(place)) + 1 :]: row["error"] for row in rows(alone) if "error" in row}
    assert list(errors) == ["missing 5.mp4", "hang 14.mp4", "kill 27.mp4"]
    assert errors["hang 14.mp4"] == "given up after 3 s"
    assert errors["kill 27.mp4"] == "its reader process ended with signal 9 (Killed), twice"


def rows(content: dict[str, bytes]) -> list[dict]:
    return json.loads(content["predictions.json"])


def test_the_run_itself_is_killed(workspace, place, alone, tmp_path):
    (place / "poison").unlink()
    flags = ("--ray=local", f"--shard_size={SHARD}", "--format=parquet")
    run = Run(workspace, place, tmp_path, *flags, slow=SLOW).has_parts(3)  # one at least without unreadable videos
    started = descendants(run.process.pid)
    names = [read(pid, "cmdline") for pid in started]
    # Two of Ray's agents write a title over their environment, and their mark.
    assert len(started) > 8 and sum(b"Agent" in name for name in names) == 2
    run.process.kill()
    assert run.ends(-signal.SIGKILL) == []  # within 10 s
    wait_until(lambda: not any(map(is_running, started)), 10)
    run = Run(workspace, place, tmp_path, *flags, slow=SLOW)
    known = int(run.says(r"^(\d) of 8 shards are done already$")[1])
    assert 1 <= known < 4
    run.has_parts(known + 4)  # of which three have them
    run.process.terminate()
    assert run.ends(143, 10) == ["terminated"]
    run = Run(workspace, place, tmp_path, *flags)
    assert run.ends(0) == []
    assert int(re.search(r"^(\d) of 8 shards are done already$", run.out.read_text(), re.MULTILINE)[1]) > known
    assert sorted(os.listdir(tmp_path)) == [
        ".made.json", "config.yaml", "predictions.jsonl", "predictions.parquet",
    ]  # fmt: skip
    assert not (place / "home").exists()  # Ray writes a token there, unless it is given one
    assert (tmp_path / "predictions.jsonl").read_bytes() == alone["predictions.jsonl"]

    table = parquet.read_table(tmp_path / "predictions.parquet")
    assert len(os.listdir(tmp_path / "predictions.parquet")) == 8
    assert table["position"].to_pylist() == list(range(VIDEOS))
    for row, expected in zip(table.select(["video", "error", "predictions"]).to_pylist(), rows(alone), strict=True):
        assert {key: value for key, value in row.items() if value is not None} == expected
    (tmp_path / "features.npy").write_bytes(alone["features.npy"])
    for row, expected in zip(table["features"].to_pylist(), np.load(tmp_path / "features.npy"), strict=True):
        assert row is None if np.isnan(expected).all() else row == expected.tolist()


def test_nobody_there(workspace, place, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*nobody.getsockname())
        run = Run(workspace, place, tmp_path / "out", f"--ray={address}")
        [error] = run.ends(2)
    assert error == f"error: --ray={address}: no Ray cluster answers there: Connection refused; see ray status"
    assert not (tmp_path / "out").exists()


def test_reencoding(workspace, place, cluster, tmp_path):
    videos = [*workspace.videos[:3], (tmp_path / "missing.mp4", 1)]
    write_list(tmp_path / "some.list", videos)
    for out, more in (("alone", []), ("shared", [f"--ray={cluster.address}"])):
        command = [sys.executable, str(ROOT / "data/reencode.py"), "some.list", "--out", out, "--short_side=24", *more]
        ended = subprocess.run(
            command, cwd=tmp_path, env=variables(place, "", 0), capture_output=True, text=True, timeout=120
        )
        assert ended.returncode == 0, ended.stderr
        assert f"{out}/some.list: 3 videos (3 re-encoded now, 0 there already), 1 unreadable\n" in ended.stdout
    alone, shared = snapshot(tmp_path / "alone"), snapshot(tmp_path / "shared")
    assert alone.pop("some.list").replace(b"alone/", b"shared/") == shared.pop("some.list")
    sources = [sorted(files.pop("reencode.jsonl").splitlines()) for files in (alone, shared)]  # as they were done
    assert sources[0] == sources[1] and len(sources[0]) == 4
    assert shared == alone and len(shared) > 4

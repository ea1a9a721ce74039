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
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from apps.cluster.connection import connected
from conftest import ROOT, run_script, says, snapshot, wait_until, write_list
from ray_runs import FLAG, LOCAL, PLACE, Cluster, Run, descendants, flags_of, is_running, last_lines, read
from utils.errors import InputError
from utils.storage.lock import FolderLock

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="pip install -r requirements-cluster.txt")

VIDEOS = 32
KINDS = {5: "missing", 14: "hang", 19: "kill", 25: "poison"}  # see cluster_faults.py


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


def rows(content: dict[str, bytes]) -> list[dict]:
    return json.loads(content["predictions.json"])


def test_faults_change_no_byte(workspace, place, alone, tmp_path):
    """A worker dies, a machine leaves, another one joins, videos kill and hang their readers, and a shard fails."""
    flags = flags_of(workspace, place, tmp_path, *LOCAL)
    ended = on_fake(*flags, TEST_FAULTS="1", TEST_POISON="1")
    [problem] = last_lines(ended.stderr)
    says(problem, "error: ", "1 of 8 shards failed", "run the command again")
    assert ended.returncode == 1
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
    assert ended.returncode == 1 and ended.stdout == ""
    says(ended.stderr, f"error: --save_dir={tmp_path}: ", "another run", f"process {os.getpid()} on ", "another folder")


def test_an_address_without_a_cluster():
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*nobody.getsockname())
        with pytest.raises(InputError) as error, connected(address):
            pass
    says(error.value, f"--ray={address}: ", "no Ray cluster", "Connection refused; ")


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

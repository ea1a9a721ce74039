"""predict.py and eval.py ended on the way, by every means: the same command goes on, and ends with the same bytes."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import uuid
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from conftest import ROOT, processes, snapshot, wait_until, write_list
from reader.filelist import read_list

VIDEOS = 48


class Run:
    """A script under way, with its output in files."""

    def __init__(self, workspace, folder: Path, script: str, *flags: str, largest_file: int | None = None):
        def limit() -> None:
            if largest_file is not None:  # stands for a disk that is full
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        self.save_dir, self.mark = folder, uuid.uuid4().hex
        command = [sys.executable, f"{script}.py", workspace.config, workspace.weights, f"--save_dir={folder}", *flags]
        self.process = subprocess.Popen(
            [*command, "--use_gpu=False", "--precision=float32"], cwd=ROOT, text=True, preexec_fn=limit,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TSN_TEST_MARK": self.mark},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def knows(self, rows: int) -> "Run":
        """Waits until each of its journals has so many rows."""

        def known() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            parts = list(self.save_dir.glob("*.partial*.jsonl"))
            return parts and all(part.read_bytes().count(b"\n") > rows for part in parts)

        wait_until(known, 120)
        return self

    def ends(self, code: int) -> "Run":
        """Waits for the end of all its processes."""
        self.out, self.errors = self.process.communicate(timeout=120)
        self.errors = "".join(line for line in self.errors.splitlines(keepends=True) if "%|" not in line)
        assert self.process.returncode == code, self.errors
        wait_until(lambda: not processes(self.mark))
        return self

    def known(self) -> int:
        """How many videos it says that it knew when it began."""
        [line] = [line for line in self.out.splitlines() if "known already" in line]
        return int(re.search(rf": (\d+) of {VIDEOS} videos are known already: going on behind them$", line)[1])


@pytest.fixture(scope="module")
def videos(workspace, tmp_path_factory) -> Path:
    """A list in which every twelfth video cannot be read."""
    videos = [*workspace.videos, (Path("missing.mp4"), 0), workspace.held_out[0]] * (VIDEOS // 12)
    return write_list(tmp_path_factory.mktemp("interrupted") / "videos.list", videos)


@pytest.fixture(scope="module")
def predict(workspace, videos):
    """A function that starts predict.py; its batches have two videos."""
    flags = (f"--filelist={videos}", "--features=segments", "--log_interval=1000")
    return lambda folder, *more, **how: Run(workspace, folder, "predict", *flags, *more, **how)


@pytest.fixture(scope="module")
def predicted(predict, tmp_path_factory) -> dict[str, bytes]:
    """What an undisturbed run leaves."""
    folder = tmp_path_factory.mktemp("predicted")
    run = predict(folder).ends(0)
    assert "known already" not in run.out and "starting anew" not in run.out
    return snapshot(folder)


@pytest.fixture(scope="module")
def killed(predict, predicted, tmp_path_factory) -> Path:
    """What one leaves that was killed."""
    folder = tmp_path_factory.mktemp("killed")
    run = predict(folder).knows(5)
    run.process.kill()
    run.ends(-signal.SIGKILL)
    assert sorted(os.listdir(folder)) == ["features.partial.npy", "predictions.partial.jsonl"]
    return folder


def test_what_an_undisturbed_run_leaves(predicted, workspace, videos):
    assert sorted(predicted) == [
        "features.npy", "predictions.csv", "predictions.json", "predictions.jsonl", "report.html",
    ]  # fmt: skip
    head, *rows = map(json.loads, predicted["predictions.jsonl"].splitlines())
    assert list(head) == [
        "script", "videos", "weights", "list", "configuration", "arithmetic", "processes", "features", "protocol",
    ]  # fmt: skip
    assert (head["script"], head["videos"], head["processes"]) == ("predict", VIDEOS, 1)
    assert head["weights"] == sha256((workspace.folder / "random.pdparams").read_bytes()).hexdigest()
    assert head["list"] == read_list(str(videos), num_classes=4).digest
    assert head["arithmetic"] == "float32 on cpu (oneDNN)"
    assert [row.pop("position") for row in rows] == list(range(VIDEOS))
    assert rows == json.loads(predicted["predictions.json"])


def test_features(predict, predicted, tmp_path):
    (tmp_path / "features.npy").write_bytes(predicted["features.npy"])
    features = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert (features.shape, features.dtype) == ((VIDEOS, 3, 512), np.float32)
    unreadable = np.isnan(features).all(axis=(1, 2))
    assert np.flatnonzero(unreadable).tolist() == [10, 22, 34, 46]
    assert np.isfinite(features[~unreadable]).all() and features[~unreadable].std() > 0.01


def test_a_killed_prediction_goes_on(predict, predicted, killed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(killed, folder)
    with open(folder / "predictions.partial.jsonl", "ab") as journal:
        journal.write(b'{"position": 7, "vid\0\0\0\0')  # as a power cut may leave it
    run = predict(folder).ends(0)
    assert 4 <= run.known() < VIDEOS and run.known() % 2 == 0
    assert run.out.splitlines()[-1] == f"predicted 44 of 48 videos, 4 unreadable; written to {folder}"
    assert snapshot(folder) == predicted


def test_another_command_starts_anew(predict, killed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(killed, folder)
    run = predict(folder, "--infer_topk=1", "--features=True").ends(0)
    said = "another run's (configuration, features differ): starting anew"
    assert f"{folder / 'predictions.partial.jsonl'}: {said}\n" in run.out
    assert sorted(os.listdir(folder)) == [
        "features.npy", "predictions.csv", "predictions.json", "predictions.jsonl", "report.html",
    ]  # fmt: skip
    assert np.load(folder / "features.npy").shape == (VIDEOS, 512)


def test_restart(predict, predicted, killed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(killed, folder)
    run = predict(folder, "--restart=True").ends(0)
    assert f"{folder / 'predictions.partial.jsonl'}: --restart=True: starting anew\n" in run.out
    assert snapshot(folder) == predicted


def test_evaluation_by_two_processes_survives_a_full_disk_and_sigterm(workspace, videos, tmp_path):
    flags = ("eval", "--nproc=2", "--set", f"TEST.filelist={videos}", "--set", "TEST.num_reader_threads=1")
    undisturbed = Run(workspace, tmp_path / "a", *flags).ends(0)
    assert "known already" not in undisturbed.out
    ended = Run(workspace, tmp_path / "b", *flags, largest_file=3000).ends(1)
    part = r"(rank 1: )?\S+/evaluation\.partial(\.rank1)?\.jsonl"
    assert re.fullmatch(rf"error: {part}: cannot be written: File too large\n", ended.errors)
    stopped = Run(workspace, tmp_path / "b", *flags).knows(14)
    stopped.process.terminate()
    stopped.ends(143)
    run = Run(workspace, tmp_path / "b", *flags).ends(0)
    assert 0 < stopped.known() < run.known() < VIDEOS
    assert snapshot(tmp_path / "b") == snapshot(tmp_path / "a")
    assert sorted(os.listdir(tmp_path / "b")) == [
        "config.yaml", "confusion.csv", "evaluation.jsonl", "metrics.json", "predictions.csv", "report.html",
    ]  # fmt: skip

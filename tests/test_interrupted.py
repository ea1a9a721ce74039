"""predict.py and eval.py, stopped in every way: the same command continues, and its files have the same bytes."""

import json
import os
import re
import shutil
import signal
import tempfile
import uuid
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from conftest import processes, snapshot, start_python, wait_until, write_list
from fork_server import fork_server
from reader.filelist import read_list
from utils.storage.stamps import signature

VIDEOS = 24
ROWS = ('"position"', 5)  # of a journal; see resting.py


class Run:
    """A running script, with its output in files."""

    def __init__(
        self,
        workspace,
        folder: Path,
        script: str,
        *flags: str,
        largest_file: int | None = None,
        rest: tuple[str, int] | None = None,
        real: bool = False,
    ):
        """Start the script, with its output in files.

        Args:
            largest_file: bytes that a file may have, as on a full disk.
            rest: the text, and its number in the journals, at which the run waits; see resting.py.
            real: start it by the system, which gives sets another order.
        """
        self.save_dir, self.mark = folder, uuid.uuid4().hex
        logs = Path(tempfile.mkdtemp(prefix="run-", dir=workspace.folder))
        self._out, self._errors = logs / "out", logs / "errors"
        self._rest = rest
        command = [
            "tests/resting.py" if rest else f"{script}.py",
            workspace.config,
            workspace.weights,
            f"--save_dir={folder}",
            *flags,
        ]
        command += ["--use_gpu=False", "--precision=float32"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TSN_TEST_MARK": self.mark}
        if rest:
            environment |= {"TSN_TEST_SCRIPT": script, "TSN_TEST_REST": f"{rest[0]} {rest[1]}"}
        if largest_file is None:
            self.process = start_python(command, environment, self._out, self._errors, real=real)
        else:
            how = {"largest_file": largest_file}
            self.process = fork_server("read").start(command, environment, self._out, self._errors, **how)

    def rests(self) -> "Run":
        """Wait until it waits, at the given point of each of its journals."""
        text, times = self._rest

        def written() -> bool:
            assert self.process.poll() is None, self._out.read_text() + self._errors.read_text()
            parts = list(self.save_dir.glob("*.partial*.jsonl"))
            return parts and all(part.read_text().count(text) >= times for part in parts)

        wait_until(written, 120)
        return self

    def ends(self, code: int) -> "Run":
        """Wait for the end of all its processes."""
        ended = self.process.wait(timeout=120)
        self.out, errors = self._out.read_text(), self._errors.read_text()
        self.errors = "".join(line for line in errors.splitlines(keepends=True) if "%|" not in line)
        assert ended == code, self.errors
        wait_until(lambda: not processes(self.mark))
        return self

    def known(self) -> int:
        """Return the number of videos that were done already, from its output."""
        [line] = [line for line in self.out.splitlines() if "done already" in line]
        return int(re.search(rf": (\d+) of {VIDEOS} videos are done already: continuing ", line)[1])


@pytest.fixture(scope="module")
def videos(workspace, tmp_path_factory) -> Path:
    """Provide a list in which every twelfth video is unreadable."""
    videos = [*workspace.videos, (Path("missing.mp4"), 0), workspace.held_out[0]] * (VIDEOS // 12)
    return write_list(tmp_path_factory.mktemp("interrupted") / "videos.list", videos)


@pytest.fixture(scope="module")
def predict(workspace, videos):
    """Provide a function that starts predict.py; its batches have two videos."""
    flags = (f"--filelist={videos}", "--features=segments", "--log_interval=1000")
    return lambda folder, *more, **how: Run(workspace, folder, "predict", *flags, *more, **how)


@pytest.fixture(scope="module")
def predicted(predict, tmp_path_factory) -> dict[str, bytes]:
    """Provide the files of an undisturbed run."""
    folder = tmp_path_factory.mktemp("predicted")
    run = predict(folder, real=True).ends(0)
    assert "done already" not in run.out and "starting anew" not in run.out
    return snapshot(folder)


@pytest.fixture(scope="module")
def killed(predict, predicted, tmp_path_factory) -> Path:
    """Provide the folder of a killed run."""
    folder = tmp_path_factory.mktemp("killed")
    run = predict(folder, rest=ROWS).rests()
    run.process.kill()
    run.ends(-signal.SIGKILL)
    assert sorted(os.listdir(folder)) == [".lock", "features.partial.npy", "predictions.partial.jsonl"]
    return folder


def test_the_files_of_an_undisturbed_run(predicted, workspace, videos):
    assert sorted(predicted) == [
        "config.yaml", "features.npy", "predictions.csv", "predictions.json", "predictions.jsonl", "report.html",
    ]  # fmt: skip
    head, *rows = map(json.loads, predicted["predictions.jsonl"].splitlines())
    assert list(head) == [
        "script", "videos", "weights", "list", "configuration", "arithmetic", "processes", "features", "protocol",
    ]  # fmt: skip
    assert (head["script"], head["videos"], head["processes"]) == ("predict", VIDEOS, 1)
    assert head["weights"] == sha256((workspace.folder / "random.pdparams").read_bytes()).hexdigest()
    assert head["list"] == read_list(str(videos), num_classes=4).digest
    assert head["arithmetic"] == "float32 on cpu (OpenVINO)"
    assert [row.pop("position") for row in rows] == list(range(VIDEOS))
    files = [row.pop("file") for row in rows]
    assert files == [signature(row["video"]) for row in rows] and files.count(None) == VIDEOS // 12
    assert rows == json.loads(predicted["predictions.json"])


def test_features(predict, predicted, tmp_path):
    (tmp_path / "features.npy").write_bytes(predicted["features.npy"])
    features = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert (features.shape, features.dtype) == ((VIDEOS, 3, 512), np.float32)
    unreadable = np.isnan(features).all(axis=(1, 2))
    assert np.flatnonzero(unreadable).tolist() == [10, 22]
    assert np.isfinite(features[~unreadable]).all() and features[~unreadable].std() > 0.01


def test_a_killed_prediction_continues(predict, predicted, killed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(killed, folder)
    journal = folder / "predictions.partial.jsonl"
    *whole, last = journal.read_bytes()[: journal.read_bytes().rindex(b"\n") + 1].splitlines(keepends=True)
    damaged = last.replace(b'"class_id": ', b'"class_id": 10', 1)  # an unknown class
    journal.write_bytes(b"".join([*whole, damaged, b'{"position": 7, "vid\0\0\0\0']))  # as after a power cut
    run = predict(folder).ends(0)
    assert 2 <= run.known() < len(whole) and run.known() % 2 == 0
    assert run.out.splitlines()[-1] == f"predicted 22 of 24 videos, 2 unreadable; written to {folder}"
    assert snapshot(folder) == predicted


def test_replaced_and_repaired_videos_are_read_again(workspace, predict, videos, tmp_path):
    """Between runs, a missing disk comes back, and another video replaces one of the list."""
    disk, there = tmp_path / "disk", [path for path, _ in workspace.videos[:8]]
    # Existing videos follow, or the run would end before it is killed.
    listed = write_list(tmp_path / "disk.list", [(disk / path.name, 0) for path in there] * 2 + workspace.videos[:8])
    flags = (f"--filelist={listed}", "--report=False")
    killed = predict(tmp_path / "out", *flags, rest=ROWS).rests()
    killed.process.kill()
    killed.ends(-signal.SIGKILL)
    disk.mkdir()
    for path in there:
        shutil.copy(path, disk)
    stopped = predict(tmp_path / "out", *flags, rest=('"predictions"', 12)).rests()
    stopped.process.terminate()
    stopped.ends(143)
    assert re.search(r"done already: .*: \d+ that could not be read, 0 whose files have changed\n", stopped.out)
    shutil.copy(there[5], disk / there[0].name)
    goes_on = predict(tmp_path / "out", *flags).ends(0)
    assert re.search("batches: 0 that could not be read, [12] whose files have changed\n", goes_on.out)
    predict(tmp_path / "undisturbed", *flags).ends(0)
    assert snapshot(tmp_path / "out") == snapshot(tmp_path / "undisturbed")


def test_another_command_starts_anew(predict, killed, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(killed, folder)
    run = predict(folder, "--infer_topk=1", "--features=True").ends(0)
    said = "another run's (configuration, features differ): starting anew"
    assert f"{folder / 'predictions.partial.jsonl'}: {said}\n" in run.out
    assert sorted(os.listdir(folder)) == [
        ".made.json", "config.yaml", "features.npy", "predictions.csv", "predictions.json", "predictions.jsonl",
        "report.html",
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
    assert "done already" not in undisturbed.out
    # The list has each of its twelve videos twice.
    assert undisturbed.out.count(f"{videos}: lines that repeat a video of an earlier line: 12; each line counts\n") == 1
    ended = Run(workspace, tmp_path / "b", *flags, largest_file=2000).ends(1)
    part = r"(rank 1: )?\S+/evaluation\.partial(\.rank1)?\.jsonl"
    assert re.fullmatch(rf"error: {part}: cannot be written: File too large\n", ended.errors)
    stopped = Run(workspace, tmp_path / "b", *flags, rest=('"position"', 9)).rests()
    stopped.process.terminate()
    stopped.ends(143)
    run = Run(workspace, tmp_path / "b", *flags).ends(0)
    assert 0 < stopped.known() < run.known() < VIDEOS
    assert snapshot(tmp_path / "b") == snapshot(tmp_path / "a")
    assert sorted(os.listdir(tmp_path / "b")) == [
        ".made.json", "config.yaml", "confusion.csv", "evaluation.jsonl", "metrics.json", "predictions.csv",
        "probabilities.npz", "report.html",
    ]  # fmt: skip

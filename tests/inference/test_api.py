"""The call for notebooks gives predict.py's answers, for a path or for frames, in a short program."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, run_python, run_script

# Without `if __name__ == "__main__":`, like a beginner's program or a notebook.
PROGRAM = """
import json, sys
import av
import numpy as np
from inference.api import Classifier

config, weights, clip, text = sys.argv[1:]
frames = np.stack([frame.to_ndarray(format="rgb24") for frame in av.open(clip).decode(video=0)])
bad = text, "gone.mp4", frames.astype(np.float32), frames[0], frames[:0], b"clip.mp4", 7
with Classifier(config, weights) as classify:
    print(json.dumps(classify(clip)))
    print(json.dumps(classify(frames)))
    for video in bad:
        try:
            classify(video)
        except Exception as error:
            print(f"{type(error).__name__} {error}")
"""

# As a web server or a task queue calls it: in a thread, and in workers of a pool, which are daemons.
WORKERS = """
import json, multiprocessing, sys, threading
from inference.api import Classifier

config, weights, clip = sys.argv[1:]

def classified(given=None):
    if given is None:
        with Classifier(config, weights) as classify:
            return classify(clip)
    try:
        return given(clip)
    except Exception as error:
        return f"{type(error).__name__} {error}"

if __name__ == "__main__":
    said = []
    fork = multiprocessing.get_context("fork")
    with fork.Pool(1) as pool:
        said.append(pool.apply(classified))
        said.append(pool.apply(classified))  # the worker is still a daemon: the pool ends with its program
    thread = threading.Thread(target=lambda: said.append(classified()))
    thread.start()
    thread.join()
    made = Classifier(config, weights)
    said.append(made(clip))
    ours, theirs = fork.Pipe()

    def forked():
        theirs.send(classified(made))
        made.close()  # does not end the parent's readers

    process = fork.Process(target=forked)
    process.start()
    said.append(ours.recv())
    process.join()
    assert any(reader.pid for reader in made._reader(clip)._processes)
    for each in said:
        print("=", json.dumps(each))
"""

# Beside files of its own with the names of the toolkit's packages, which Python finds first.
NAMESAKES = """
import json, sys
import utils
from inference.api import Classifier
import models, reader

config, weights, clip = sys.argv[1:]
with Classifier(config, weights) as classify:
    print(json.dumps(classify(clip)))
    print([module.__file__.rpartition("/")[2] for module in (utils, models, reader)], reader.mine.__name__)
"""


def run_program(program: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture(scope="module")
def clip(workspace) -> Path:
    return workspace.held_out[0][0]


@pytest.fixture(scope="module")
def predicted(workspace, clip, tmp_path_factory) -> dict:
    """Return predict.py's entry for the clip. A fork traces its graph, which the programs then load."""
    folder = tmp_path_factory.mktemp("predicted")
    flags = (f"--video_path={clip}", f"--save_dir={folder}", "--report=False")
    assert run_script("predict", workspace.config, workspace.weights, *flags).returncode == 0
    [entry] = json.loads((folder / "predictions.json").read_text())
    return entry


@pytest.fixture(scope="module")
def printed(workspace, clip, predicted, tmp_path_factory) -> list[str]:
    """Return the lines that PROGRAM prints."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "text.mp4").write_text("no video")
    files = workspace.folder / "tiny.yaml", workspace.folder / "random.pdparams", clip, folder / "text.mp4"
    process = run_program(folder / "program.py", *files)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.splitlines()


def test_a_path_and_its_frames_get_what_predict_writes(predicted, printed):
    assert json.loads(printed[0]) == predicted
    assert json.loads(printed[1]) == {**predicted, "video": None}


def test_it_answers_in_threads_and_in_workers_of_a_pool(workspace, clip, printed, tmp_path):
    (tmp_path / "workers.py").write_text(WORKERS)
    files = workspace.folder / "tiny.yaml", workspace.folder / "random.pdparams", clip
    process = run_program(tmp_path / "workers.py", *files)
    assert (process.returncode, process.stderr) == (0, "")
    *said, forked = [json.loads(line[2:]) for line in process.stdout.splitlines() if line.startswith("= ")]
    assert said == [json.loads(printed[0])] * 4
    assert forked == "RunError this Classifier was made before its process forked: make one in each process"


# Many calls at once, and lists: each answer equals that of a single call, to the bit.
MANY = """
import io, json, logging, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from inference.api import Classifier
from utils.processes import device

config, weights, folder = sys.argv[1:]
device.has_gpu = lambda: True
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
clips = sorted(Path(folder).glob("*.mp4"))
rng = np.random.default_rng(0)
frames = [rng.integers(0, 256, (9, 36, 48, 3), np.uint8) for _ in range(12)]
with Classifier(config, weights) as classify:
    print(repr(classify))
    alone = [classify(video) for video in (*frames, *clips)]
    assert sum(reader.pid is not None for reader in classify._reader("")._processes) == 1
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(classify, [*frames, *clips] * 3))
    assert together == alone * 3
    several = list(classify([clips[0], "gone.mp4", frames[0], clips[1].read_bytes()], topk=1))
    assert several[0] == {"video": str(clips[0]), "predictions": alone[12]["predictions"][:1]}
    assert several[1] == {"video": "gone.mp4", "error": "no such file"}
    assert [one["video"] for one in several[2:]] == [None, None]
    assert several[2]["predictions"] == alone[0]["predictions"][:1]
    assert several[3]["predictions"] == alone[13]["predictions"][:1]
    with open(clips[0], "rb") as file:
        assert classify(file)["predictions"] == alone[12]["predictions"]
    endless = classify(path for path in iter(lambda: clips[0], None))  # the call takes only as many as it answers
    assert [next(endless)["video"] for _ in range(3)] == [str(clips[0])] * 3
    endless.close()
    try:
        classify(clips[0], topk=9)
    except Exception as error:
        print(error)
try:
    Classifier(config, "gone")
except Exception as error:
    print(error)
"""


def test_many_threads_and_lists(workspace):
    files = workspace.folder / "tiny.yaml", workspace.folder / "random.pdparams", workspace.folder / "my clips"
    process = run_python(["-c", MANY, *map(str, files)], dict(os.environ), ROOT, 120, kind="read")
    assert process.returncode == 0, process.stderr
    shown, topk, gone = process.stdout.splitlines()
    assert re.fullmatch(r"Classifier\(TSN, 4 classes, float32 on cpu \(OpenVINO\), weights \S+ \(sha256 \w+\)\)", shown)
    assert topk == "topk=9: expected 1 to 4, the number of classes"
    assert gone.startswith("gone: no such weights") and "--" not in gone
    assert "INFO:tsn:running on the CPU" in process.stderr


def test_packages_of_ones_own(workspace, clip, printed, tmp_path):
    (tmp_path / "reader").mkdir()
    for name in ("utils.py", "models.py", "reader/mine.py"):
        (tmp_path / name).touch()
    (tmp_path / "reader" / "__init__.py").write_text("import reader.mine")
    (tmp_path / "program.py").write_text(NAMESAKES)
    files = workspace.folder / "tiny.yaml", workspace.folder / "random.pdparams", clip
    process = run_program(tmp_path / "program.py", *files)
    assert (process.returncode, process.stderr) == (0, "")
    *_, said, names = process.stdout.splitlines()
    assert json.loads(said) == json.loads(printed[0])
    assert names == "['utils.py', 'models.py', '__init__.py'] reader.mine"
    (tmp_path / "reader" / "clip.py").touch()
    process = run_program(tmp_path / "program.py", *files)
    what = f"{tmp_path / 'reader' / '__init__.py'} hides the toolkit's {ROOT / 'reader'}, and both have reader.clip: "
    assert process.stderr.splitlines()[-1].startswith(f"ImportError: {what}rename yours, or ")


def test_what_is_no_video_is_told_in_words(printed):
    assert printed[2].startswith("VideoError ") and printed[2].endswith("/text.mp4: not a readable video file")
    assert printed[3:] == [
        "VideoError gone.mp4: no such file",
        "InputError expected frames uint8 [N, H, W, 3] in RGB, not float32 [22, 36, 44, 3]",
        "InputError expected frames uint8 [N, H, W, 3] in RGB, not uint8 [36, 44, 3]",
        "InputError expected frames uint8 [N, H, W, 3] in RGB, not uint8 [0, 36, 44, 3]",
        "VideoError the content: not a readable video file",
        "InputError expected a path, bytes, an open file or frames uint8 [N, H, W, 3], or several of them, not int",
    ]

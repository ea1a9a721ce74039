"""The call for notebooks: what predict.py writes, from a path or from frames, in a program of a few lines."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, run_script

# It has no `if __name__ == "__main__":`, as a beginner's and a notebook have none.
PROGRAM = """
import json, sys
import av
import numpy as np
from inference.api import Classifier

config, weights, clip, text = sys.argv[1:]
frames = np.stack([frame.to_ndarray(format="rgb24") for frame in av.open(clip).decode(video=0)])
bad = text, "gone.mp4", frames.astype(np.float32), frames[0], frames[:0], b"clip.mp4"
with Classifier(config, weights) as classify:
    print(json.dumps(classify(clip)))
    print(json.dumps(classify(frames)))
    for video in bad:
        try:
            classify(video)
        except Exception as error:
            print(f"{type(error).__name__} {error}")
"""


def run_program(program: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, program, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


@pytest.fixture(scope="module")
def clip(workspace) -> Path:
    return workspace.held_out[0][0]


@pytest.fixture(scope="module")
def printed(workspace, clip, tmp_path_factory) -> list[str]:
    """The lines of PROGRAM."""
    folder = tmp_path_factory.mktemp("program")
    (folder / "program.py").write_text(PROGRAM)
    (folder / "text.mp4").write_text("no video")
    files = workspace.folder / "tiny.yaml", workspace.folder / "random.pdparams", clip, folder / "text.mp4"
    process = run_program(folder / "program.py", *files)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout.splitlines()[1:]  # behind the device


def test_a_path_and_its_frames_get_what_predict_writes(workspace, clip, printed, tmp_path):
    flags = (f"--video_path={clip}", f"--save_dir={tmp_path}", "--report=False")
    assert run_script("predict", workspace.config, workspace.weights, *flags).returncode == 0
    [entry] = json.loads((tmp_path / "predictions.json").read_text())
    assert json.loads(printed[0]) == entry
    assert json.loads(printed[1]) == {**entry, "video": None}


def test_what_is_no_video_is_told_in_words(printed):
    assert printed[2].startswith("VideoError ") and printed[2].endswith("/text.mp4: not a readable video file")
    assert printed[3:] == [
        "VideoError gone.mp4: no such file",
        "InputError expected frames uint8 [N, H, W, 3] in RGB, not float32 [22, 36, 44, 3]",
        "InputError expected frames uint8 [N, H, W, 3] in RGB, not uint8 [36, 44, 3]",
        "InputError expected frames uint8 [N, H, W, 3] in RGB, not uint8 [0, 36, 44, 3]",
        "InputError expected a path or an array of frames uint8 [N, H, W, 3], not bytes",
    ]


def test_paddle_that_was_imported_before_is_told_in_words(workspace, tmp_path):
    (tmp_path / "program.py").write_text("import paddle\n" + PROGRAM)
    files = workspace.folder / "tiny.yaml", workspace.folder / "random.pdparams", workspace.held_out[0][0], "-"
    process = run_program(tmp_path / "program.py", *files)
    assert process.returncode == 1
    assert "InputError: paddle was imported before the Classifier was made: make it first" in process.stderr

"""The lowest versions of the packages that read and show videos; PADDLE_TSN_LOWEST=1 downloads and tries them."""

import os
import re
import subprocess
import sys

import pytest

from conftest import ROOT
from make_fixtures import FIXTURES

# Their lowest and newest versions are of one series, or there is only one version.
SERIES = {"paddlepaddle", "openvino", "decord"}
WORK = """
import sys
from pathlib import Path
import numpy as np
from reader.clip import ClipSpec
from reader.dataset import read_clip
from reader.decode import read_frames
from results.pages.annotated_video import label_video
from results.pages.heatmaps import overlays
import safetensors.numpy, tqdm, yaml

video, folder = sys.argv[1], Path(sys.argv[2])
assert read_clip(ClipSpec(3, 1, 48, 48), video, folder=folder)[0].dtype == np.uint8
said = [{"class_id": 0, "label": "a", "probability": 1.0}]
assert list(label_video(video, str(folder / "out.mp4"), [(0.0, 9.0, said)]))
frames = np.zeros((2, 8, 8, 3), np.uint8)
assert len(list(overlays(frames, np.ones((2, 2, 2), np.float32)))) == 2
for decoder in ("pyav", "opencv"):
    assert read_frames(video, lambda n: [0, n - 1], decoder).shape == (2, 48, 64, 3)
"""


def lowest() -> list[str]:
    """Return `name==version` of each requirement, or `name~=` if the file names only a part of the version."""
    lines = re.findall(r"^([\w-]+)>=([\d.]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return [f"{name}~={version}.0" if version.count(".") else f"{name}=={version}" for name, version in lines
            if name not in SERIES]  # fmt: skip


def test_the_cpu_and_the_gpu_have_the_same_requirements():
    named = [
        {line for line in (ROOT / name).read_text(encoding="utf-8").splitlines() if line[:1].isalpha()}
        for name in ("requirements.txt", "requirements-gpu.txt")
    ]
    assert {re.match(r"[\w-]+", line)[0] for line in named[0] ^ named[1]} == {"paddlepaddle", "paddlepaddle-gpu"}


@pytest.mark.skipif(not os.environ.get("PADDLE_TSN_LOWEST"), reason="fetches packages; PADDLE_TSN_LOWEST=1 runs it")
def test_videos_are_read_and_shown_with_the_lowest_versions(tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*pip, "--target", str(tmp_path / "lowest"), *lowest()], check=True)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'lowest'}{os.pathsep}{ROOT}"}
    what = [sys.executable, "-c", WORK, str(FIXTURES / "h264.mp4"), str(tmp_path)]
    subprocess.run(what, check=True, env=environment)

"""apps/doctor/machine.py: the facts about a machine, and GPUs that Paddle does not use."""

import re

import pytest

from apps.doctor import machine
from utils.processes.device import BOTH_BUILDS, INSTALL_FOR_GPUS
from utils.processes.limits import available_cores

H100 = ["GPU 0: NVIDIA H100"]
DRIVER = "check with nvidia-smi that the driver supports CUDA 12.6, and check CUDA_VISIBLE_DEVICES"


@pytest.mark.parametrize("cuda, seen, visible, listed, problem, remedy", [
    ("12.6", 1, None, H100, "", ""),
    ("", 0, None, [], "", ""),
    ("12.6", 0, None, [], "", ""),
    ("", 0, "", H100, "", ""),
    ("12.6", 0, "-1", H100, "", ""),
    ("12.6", 2, "0,3", H100 * 8, "", ""),
    ("12.6", 2, "1,0,-1,3", H100 * 8, "", ""),
    ("", 0, None, H100, "the driver lists 1 (GPU 0: NVIDIA H100), but this Paddle is built for the CPU",
     INSTALL_FOR_GPUS),
    ("12.6", 7, None, H100 * 8, "the driver lists 8 (GPU 0: NVIDIA H100), but Paddle sees 7", DRIVER),
    ("12.6", 0, "0", H100 * 2, "the driver lists 2 (GPU 0: NVIDIA H100), CUDA_VISIBLE_DEVICES lists 1 (0), but Paddle "
     "sees none", DRIVER),
    ("12.6", 2, "0,1,2,3", H100 * 2, "the driver lists 2 (GPU 0: NVIDIA H100), CUDA_VISIBLE_DEVICES lists 4 (0,1,2,3), "
     "but Paddle sees 2", DRIVER),
])  # fmt: skip
def test_a_gpu_that_is_not_used_is_a_problem(cuda, seen, visible, listed, problem, remedy):
    assert machine.gpu_problem(cuda, seen, visible, listed) == (problem, remedy)


def test_gpus_are_those_that_the_driver_lists(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.listed_gpus() == []
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert machine.listed_gpus() == ["GPU 0: NVIDIA H100 80GB HBM3"]


def test_description():
    paddle = {"version": "3.3.1", "cuda": "12.6", "cudnn": "9.5", "gpus": ["NVIDIA H100, 80 GB, capability 9.0"]}
    found = dict(machine.describe(paddle))
    assert found["Paddle"] == "3.3.1, CUDA 12.6, cuDNN 9.5" and found["GPU"] == "NVIDIA H100, 80 GB, capability 9.0"
    assert f"cores to use: {available_cores()}" in found["processor"] and "GB free" in found["disk"]
    assert "numpy 2." in found["packages"] and "paddle" not in found["packages"]
    assert re.fullmatch(r"20\d\d\.\d+\.\d+", found["OpenVINO"]) and "openvino " not in found["packages"]
    assert "Paddle" not in dict(machine.describe({}))


def test_a_missing_package_is_a_problem(tmp_path, monkeypatch):
    (tmp_path / "requirements.txt").write_text("numpy>=2\npaddle-tsn-is-not-there>=7\n")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    problem = machine.package_problem("requirements.txt")
    assert problem == "No matching distribution found for paddle-tsn-is-not-there>=7"


def test_two_paddles_are_a_problem(monkeypatch):
    monkeypatch.setattr("utils.processes.device.installed_version", lambda package: "3.3.1")
    assert machine.package_problem("requirements-gpu.txt") == BOTH_BUILDS

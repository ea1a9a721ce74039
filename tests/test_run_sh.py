"""Test run.sh, also with a GPU: the Python that it takes, what it installs, and when it only says what to install."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT, says
from utils.processes.device import FOR_GPUS

# Stands for a Python. The file beside it says what it has: a Paddle for the CPU ("cpu") or for GPUs ("gpu"), and all
# other packages ("all"). With "old", it is a version that the toolkit does not run on.
PYTHON = """#!/bin/sh
has=" $(cat "$0.has" 2>/dev/null) "
is() { case "$has" in *" $1 "*) return 0 ;; *) return 1 ;; esac }
case "$*" in
*version_info*) ! is old ;;
*metadata*) is gpu ;;
*find_spec*) is gpu || is cpu ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*installed.py*requirements-gpu.txt*) is gpu && is all ;;
*installed.py*) is cpu && is all ;;
*"pip install"*) echo "installs ${*##*--disable-pip-version-check }" ;;
--version) echo Python 3 ;;
*) echo "$0 runs $*" ;;
esac
"""
ONE_GPU = "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'"
BROKEN = "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9"
TRAIN = ("train", "TSN", "configs/tsn.yaml")
RUNS = "runs train.py --model_name=TSN --config=configs/tsn.yaml"
NO_PADDLE = "has a GPU", "no Paddle yet", f": python3 -m venv .venv && .venv/bin/python -m pip install {FOR_GPUS}"
NOT_ALL = "python3 has the Paddle for GPUs", "not all else", f": python3 -m pip install {FOR_GPUS}"
OF_TESTS = "-r requirements-extras.txt -r requirements-cluster.txt -r requirements-serve.txt -r requirements-onnx.txt"


def start(folder: Path, words: tuple[str, ...], pythons: dict[str, str], gpu: str, **settings: str):
    """Run a copy of run.sh to its end. `pythons` says what each Python has, on the path or in ".venv"."""
    for file in (ROOT / "run.sh", *ROOT.glob("requirements*.txt")):
        shutil.copy(file, folder)
    (folder / "path").mkdir()
    places = {name: folder / "path" / name for name in pythons} | {".venv": folder / ".venv" / "bin" / "python"}
    programs = {places[name]: PYTHON for name in pythons}
    if gpu:
        programs[folder / "path" / "nvidia-smi"] = f"#!/bin/sh\n{gpu}\n"
    for path, text in programs.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    for name, has in pythons.items():
        places[name].with_name(f"{places[name].name}.has").write_text(has)
    environment = {"PATH": f"{folder / 'path'}:/usr/bin:/bin", "HOME": os.environ["HOME"], **settings}
    command = ["bash", str(folder / "run.sh"), *words]
    return subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words, pythons, gpu, settings, said", [
    # A Python that has a Paddle is taken.
    (TRAIN, {"python3": "gpu all"}, ONE_GPU, {}, [f"python3 {RUNS}"]),
    (TRAIN, {"python3": "cpu all"}, ONE_GPU, {}, [f"python3 {RUNS}"]),
    (TRAIN, {"python3": "", ".venv": "gpu all"}, ONE_GPU, {}, [f".venv/bin/python {RUNS}"]),
    # Without a GPU, or for the CPU, the Paddle for the CPU is installed.
    (TRAIN, {"python3": ""}, "", {}, ["-r requirements.txt", RUNS]),
    (TRAIN, {"python3": ""}, BROKEN, {}, ["-r requirements.txt", RUNS]),
    (TRAIN, {"python3": ""}, ONE_GPU, {"use_gpu": "False"}, ["-r requirements.txt", f"{RUNS} --use_gpu=False"]),
    ((*TRAIN, "--use_gpu=False"), {"python3": ""}, ONE_GPU, {}, ["-r requirements.txt", f"{RUNS} --use_gpu=False"]),
    (("demo",), {"python3": ""}, "", {}, ["-r requirements.txt -r requirements-extras.txt", "runs data/demo.py"]),
    # The Paddle for GPUs is completed with the packages for GPUs, never with those for the CPU.
    (TRAIN, {"python3": "", ".venv": "gpu"}, "", {}, [FOR_GPUS, RUNS]),
    (TRAIN, {"python3": "", ".venv": "gpu"}, "", {"use_gpu": "False"}, [FOR_GPUS, f"{RUNS} --use_gpu=False"]),
    (("demo",), {"python3": "", ".venv": "gpu"}, "", {}, [f"{FOR_GPUS} -r requirements-extras.txt", "data/demo.py"]),
    (("doctor",), {"python3": "gpu"}, ONE_GPU, {}, ["python3 runs -m apps.doctor"]),
])  # fmt: skip
def test_what_it_takes_and_installs(tmp_path, words, pythons, gpu, settings, said):
    ended = start(tmp_path, words, pythons, gpu, **settings)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = [line for line in ended.stdout.splitlines() if line.startswith("installs ") or " runs " in line]
    assert len(lines) == len(said)
    for line, expected in zip(lines, said, strict=True):
        assert line.removeprefix("installs ").endswith(expected)


@pytest.mark.parametrize("words, python, gpu, pieces", [
    (TRAIN, "", ONE_GPU, NO_PADDLE),
    (("doctor",), "", ONE_GPU, NO_PADDLE),
    (("demo",), "", ONE_GPU, NO_PADDLE),
    (TRAIN, "gpu", ONE_GPU, NOT_ALL),
    (TRAIN, "gpu", "", NOT_ALL),
    (("test",), "gpu", ONE_GPU,
     (*NOT_ALL[:2], FOR_GPUS.replace(" --extra", f" {OF_TESTS} -r requirements-int8.txt --extra"))),
])  # fmt: skip
def test_it_says_what_to_install_where_a_gpu_is(tmp_path, words, python, gpu, pieces):
    ended = start(tmp_path, words, {"python3": python}, gpu)
    assert (ended.returncode, ended.stdout) == (2, "")
    path = f"{tmp_path / 'path'}/"
    line = ended.stderr.replace(path, "")
    if words == ("test",):  # with the packages that the file names one by one
        line = line.replace(line[line.index(" moto") : line.index(" --extra")], "")
    says(line, "error: ", *pieces, "on the CPU", f"use_gpu=False bash run.sh {words[0]} ")
    assert not (tmp_path / ".venv").exists()


def test_an_old_python_is_not_taken(tmp_path):
    names = ("python3", "python3.13", "python3.12", "python3.11", "python")
    ended = start(tmp_path, TRAIN, dict.fromkeys(names, "cpu all old"), "")
    assert (ended.returncode, ended.stdout) == (2, "")
    says(ended.stderr, "error: ", "Python 3.11, 3.12 or 3.13")

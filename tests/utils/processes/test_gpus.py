"""Simulate a machine with GPUs: each GPU has a process, and a missing one is an error at once, not a long wait."""

import os

import pytest

from conftest import ROOT, run_python, run_script, says
from gpu_machine import play_gpus
from utils.processes.device import BOTH_BUILDS, INSTALL_FOR_GPUS

PROGRAM = f"""
import os, runpy, sys
sys.path[:0] = os.environ["PLAYED_SITE"], {str(ROOT)!r}
runpy.run_path(os.environ["PLAYED_SITE"] + "/sitecustomize.py")
from utils.cli import run
from utils.log import say
from utils.processes.device import choose_device
from utils.processes.launch import start_ranks
from utils.processes.ranks import linked_ranks
from utils.processes import device

device.has_gpu = lambda: True

def main():
    start_ranks(None, use_gpu="cpu" not in sys.argv)
    chosen = choose_device("cpu" not in sys.argv, demanded=False)
    linked_ranks().all_gather(None)
    say(chosen + " " + os.environ.get("CUDA_VISIBLE_DEVICES", "all"), every_rank=True)

run(main)
"""
ON_CPU = "--use_gpu=False runs on the CPU"
FEWER = "CUDA_VISIBLE_DEVICES={0} ", "{1} GPUs", "Paddle sees {2}", "nvidia-smi -L", ON_CPU
GPU, OLD, BOTH = "paddlepaddle-gpu 3.3.1", "paddlepaddle-gpu 2.6.2", "paddlepaddle-gpu 3.3.1,paddlepaddle 3.3.1"
TOO_OLD = "paddlepaddle-gpu 2.6.2 ", "3.3 is needed", INSTALL_FOR_GPUS


def fewer(*values: object) -> list[str]:
    """Return the pieces of a message: the list of GPUs, how many they are, and how many Paddle sees."""
    return [piece.format(*values) for piece in FEWER]


def start(folder, gpus, packages, *words, real=False, **settings):
    environment = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "PYTHONPATH")}
    played = play_gpus(folder / "site", gpus, packages)
    environment |= {"PLAYED_SITE": played.pop("PYTHONPATH")} | played | settings
    (folder / "program.py").write_text(PROGRAM)
    return run_python(["program.py", *words], environment, folder, 60, real)


@pytest.mark.parametrize("gpus, packages, visible, said", [
    (2, GPU, None, ["[rank 1] gpu 1", "gpu 0"]),
    (2, "paddlepaddle-gpu 0.0.0", None, ["[rank 1] gpu 1", "gpu 0"]),  # a private build
    (4, GPU, "3,1", ["[rank 1] gpu 1", "gpu 3"]),
    (4, GPU, "3,-1,1", ["gpu 3,-1,1"]),
    (1, GPU, None, ["gpu all"]),
    (2, GPU, "-1", ["cpu -1", "running on the CPU: no GPU is visible (see CUDA_VISIBLE_DEVICES)"]),
    (0, OLD, None, ["cpu all", "running on the CPU: no GPU is visible (see CUDA_VISIBLE_DEVICES)"]),
    (2, "paddlepaddle 3.3.1", None,
     ["cpu all", "running on the CPU: this paddlepaddle is a CPU build (see requirements-gpu.txt)"]),
])  # fmt: skip
def test_a_process_for_each_gpu(tmp_path, gpus, packages, visible, said):
    settings = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    ended = start(tmp_path, gpus, packages, real=visible == "3,1", **settings)
    assert (ended.stderr, sorted(ended.stdout.splitlines())) == ("", said)


@pytest.mark.parametrize("gpus, packages, settings, pieces", [
    (2, GPU, {"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, fewer("0,1,2,3", 4, 2)),
    (2, GPU, {"CUDA_VISIBLE_DEVICES": "7"}, fewer("7", 1, 0)),
    (2, GPU, {"PLAYED_BLIND": "1"}, ["rank 1: ", *fewer("1", 1, 0)]),
    (2, GPU, {"PLAYED_BLIND": "0"}, fewer("0", 1, 0)),
    (2, OLD, {}, TOO_OLD),
    (1, OLD, {}, TOO_OLD),
    (2, BOTH, {}, [f"{BOTH_BUILDS}: ", INSTALL_FOR_GPUS, ON_CPU]),
    # Paddle's launcher has started it.
    (0, GPU, {"FLAGS_selected_gpus": "0", "PADDLE_LOCAL_RANK": "0"},
     ["a launcher ", "FLAGS_selected_gpus=0, CUDA_VISIBLE_DEVICES=)", "no GPU is visible", "see CUDA_VISIBLE_DEVICES"]),
])  # fmt: skip
def test_an_error_at_once_where_a_gpu_is_missing(tmp_path, gpus, packages, settings, pieces):
    ended = start(tmp_path, gpus, packages, **settings)
    assert (ended.returncode, ended.stdout) == (2, "")
    says(ended.stderr, f"error: {pieces[0]}", *pieces[1:])


@pytest.mark.parametrize("packages", [OLD, BOTH])
def test_the_cpu_works_with_any_of_these_packages(tmp_path, packages):
    ended = start(tmp_path, 2, packages, "cpu", CUDA_VISIBLE_DEVICES="0,1,2,3")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "cpu 0,1,2,3\n", "")


def test_training_does_not_begin_with_fewer_gpus_than_are_listed(workspace, tmp_path):
    played = play_gpus(tmp_path / "site", 2) | {"CUDA_VISIBLE_DEVICES": "0,1,2"}
    ended = run_script("train", workspace.config, "--pretrain=none", f"--save_dir={tmp_path / 'run'}", **played)
    assert (ended.returncode, ended.stdout) == (2, "")
    says(ended.stderr, "error: ", *fewer("0,1,2", 3, 2))

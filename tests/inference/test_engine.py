"""The CPU engine gives the eager network's probabilities, however its work is cut, and never those of other weights."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import NUM_CLASSES, ROOT, Workspace, run_script
from inference.precision import has_bfloat16
from utils.files import CACHE_VARIABLE
from utils.processes.limits import available_cores
from weight_formats import write_original_pdparams


@pytest.fixture(scope="module")
def found(workspace: Workspace, tmp_path_factory) -> dict:
    """What engine_program.py prints."""
    folder = tmp_path_factory.mktemp("engine")
    shutil.copyfile(workspace.folder / "random.pdparams", folder / "weights.pdparams")
    write_original_pdparams(folder / "other.pdparams", num_layers=18, num_classes=NUM_CLASSES, seed=1)
    program = Path(__file__).with_name("engine_program.py")
    arguments = [workspace.folder / "tiny.yaml", folder / "weights.pdparams", folder / "other.pdparams"]
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
        "PYTHONWARNINGS": "ignore",
        CACHE_VARIABLE: str(folder / "cache"),
    }
    command = [sys.executable, program, *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def test_float32_is_exact_for_any_number_of_segments(found):
    assert found["spread"] > 0.01  # the clips differ: there is something to get wrong
    assert set(found["float32"]) == {"1", "3", "11"}
    assert max(found["float32"].values()) < 1e-5


def test_features_are_those_of_each_segment(found):
    assert found["features"] < 1e-5


def test_batches_do_not_matter(found):
    assert found["batches"] < 1e-6


@pytest.mark.parametrize("backbone", ["resnet", "resnet_vd"])
def test_frames_that_see_each_other_are_computed_video_by_video(found, backbone):
    assert found[f"TSM {backbone}"]["largest"] < 1e-5


def test_many_calls_wait_for_several_processes_at_once(found):
    assert found["TSM resnet"]["in flight"] < 1e-5 and found["TSM resnet_vd"]["ahead"] == 0
    assert (found["TSM resnet"]["ahead"] > 0) == (available_cores() > 1)


def test_what_the_section_says_of_the_input_counts(found):
    assert found["section's mean"] < 1e-5


def test_a_kept_graph_needs_no_model(found):
    assert found["kept"] < 1e-5


def test_other_weights_under_the_same_name_and_time_are_seen(found):
    assert found["changed"] < 1e-5 < 1e-3 < found["change"]


def test_the_description_names_precision_and_engine(found):
    assert found["description"].startswith("float32 on cpu (oneDNN), weights ")


@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
def test_bfloat16_is_close(found):
    assert 0 < found["bfloat16"] < 0.03
    assert found["bfloat16's description"].startswith("bfloat16 on cpu (oneDNN), weights ")


def test_predict_says_what_auto_means_and_how_to_get_float32(workspace, tmp_path):
    flags = [workspace.config, workspace.weights, "--use_gpu=False", f"--video_path={workspace.held_out[0][0]}"]
    ended = run_script("predict", *flags, f"--save_dir={tmp_path / 'out'}", **{CACHE_VARIABLE: str(tmp_path / "cache")})
    assert (ended.returncode, ended.stderr.count("\n")) == (0, 0), ended.stderr
    said = "precision auto: bfloat16, which this processor has; --precision=float32 for full precision\n"
    assert (said in ended.stdout) == has_bfloat16()
    assert f"{'bfloat16' if has_bfloat16() else 'float32'} on cpu (oneDNN)" in ended.stdout
    assert "\033" not in ended.stdout  # paddle's passes report in colours
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("script", ["train", "eval", "predict", "export"])
def test_help_waits_for_nothing(script):
    command = [sys.executable, "-X", "importtime", f"{script}.py", "--help"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert ended.returncode == 0 and "usage: python" in ended.stdout
    assert not imported & {"paddle", "numpy", "av", "PIL", "cv2", "tqdm"}

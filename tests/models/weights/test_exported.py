"""The graph of export.py gives predict.py's probabilities in any program with paddle."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import run_narrow, run_python, says
from models.weights.exported import exported_weights
from reader.dataset import ClipSpec, read_clip
from utils.config.loading import load_config
from utils.errors import InputError
from utils.processor import has_bfloat16
from weight_formats import random_state, write_pickle

# Another program, without this toolkit, that uses the two files.
PLAIN_PROGRAM = """
import sys, numpy, paddle.inference
predictor = paddle.inference.create_predictor(paddle.inference.Config("model.json", "model.pdiparams"))
frames = numpy.load(sys.argv[1])
handle = predictor.get_input_handle(predictor.get_input_names()[0])
handle.reshape(frames.shape)
handle.copy_from_cpu(frames)
predictor.run()
numpy.save(sys.argv[2], predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu())
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "narrow.pdparams"
    write_pickle(file, random_state(18, 4, narrow=True))
    return file


@pytest.fixture(scope="module")
def exported(workspace, weights, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    ended = run_narrow("export", workspace.config, f"--weights={weights}", f"--save_dir={folder}")
    assert (ended.returncode, ended.stderr) == (0, "")
    compared, done = ended.stdout.splitlines()[-2:]
    assert re.fullmatch(
        r"compared with the network on random frames: its probabilities differ by (0|\de-\d\d) at most", compared
    )
    assert done.endswith(f" to {folder}: uint8 frames [N, 3, 32, 32, 3] in, probabilities [N, 4] out")
    return folder


def test_files(exported):
    assert {p.name for p in exported.iterdir()} == {"model.json", "model.pdiparams", "weights.pdparams", "config.yaml"}


def predict(workspace, weights: Path, folder: Path, *flags: str) -> np.ndarray:
    """Return the probabilities [N, K] that predict.py writes."""
    flags = f"--weights={weights}", f"--save_dir={folder}", "--infer_topk=4", "--report=False", *flags
    ended = run_narrow("predict", workspace.config, *flags)
    assert ended.returncode == 0, ended.stderr
    results = json.loads((folder / "predictions.json").read_text())
    by_class = [sorted(r["predictions"], key=lambda p: p["class_id"]) for r in results]
    return np.array([[p["probability"] for p in predictions] for predictions in by_class])


PRECISIONS = ["float32", *["bfloat16"] * has_bfloat16()]


@pytest.fixture(scope="module")
def predicted(workspace, weights, tmp_path_factory) -> dict[str, np.ndarray]:
    """Return {precision: the probabilities [N, K] of predict.py from the file of weights}."""
    folder = tmp_path_factory.mktemp("predicted")
    return {name: predict(workspace, weights, folder / name, f"--precision={name}") for name in PRECISIONS}


def test_a_plain_program_gets_the_probabilities_of_predict(exported, predicted, workspace, tmp_path):
    spec = ClipSpec(num_segments=3, seglen=1, short_side=36, crop_size=32)
    np.save(tmp_path / "frames.npy", np.stack([read_clip(spec, str(video))[0] for video, _ in workspace.held_out]))
    # A fork of a process with paddle. docs/export.md's programs are real processes in tests/models/graphs.
    command = ["-c", PLAIN_PROGRAM, str(tmp_path / "frames.npy"), str(tmp_path / "out.npy")]
    ended = run_python(command, dict(os.environ), exported, 120, kind="export")
    assert ended.returncode == 0, ended.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), predicted["float32"], atol=1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_predict_gives_the_same_from_the_folder_in_any_precision(exported, predicted, workspace, tmp_path, precision):
    from_folder = predict(workspace, exported, tmp_path / "folder", f"--precision={precision}")
    np.testing.assert_array_equal(from_folder, predicted[precision])


REFUSED = [
    ("INFER.seg_num=5", "seg_num 3 ", "has 5"),
    ("MODEL.name=TSM", "name TSN ", "has TSM"),
    ("MODEL.backbone=resnet_vd", "backbone resnet ", "has resnet_vd"),
    ("INFER.target_size=24", "target_size 32 ", "has 24"),
]


@pytest.mark.parametrize("setting, folder_has, configuration_has", REFUSED)
def test_another_configuration_is_refused(exported, workspace, setting, folder_has, configuration_has):
    config = load_config(str(workspace.folder / "tiny.yaml"), {}, [setting])
    with pytest.raises(InputError) as error:
        exported_weights(exported, config, config.infer)
    says(error.value, f"{exported}: ", folder_has, configuration_has)


@pytest.mark.parametrize("missing", ["weights.pdparams", "config.yaml"])
def test_an_incomplete_folder_is_refused(exported, workspace, tmp_path, missing):
    shutil.copytree(exported, tmp_path / "part")
    (tmp_path / "part" / missing).unlink()
    config = load_config(str(workspace.folder / "tiny.yaml"))
    with pytest.raises(InputError) as error:
        exported_weights(tmp_path / "part", config, config.infer)
    says(error.value, f"{tmp_path / 'part'}", missing)

"""export.py --format=openvino: programs with OpenVINO alone get the network's answers, in float32 and int8."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import paddle
import pytest

from conftest import run_narrow
from models.graphs import exporting
from networks import probabilities, tiny_network
from results.openvino_format import save_openvino
from utils.errors import RunError

# A side of 45 halves to odd numbers, so the shortcuts of ResNet-vd average over windows that cross the edge.
NETWORKS = {
    "TSN": ["MODEL.name=TSN"],
    "TSN on vd": ["MODEL.name=TSN", "MODEL.backbone=resnet_vd", "INFER.target_size=45", "INFER.short_size=45",
                  "INFER.seglen=2"],
    "TSM": ["MODEL.name=TSM", "INFER.seg_num=5"],
    "TSM on vd": ["MODEL.name=TSM", "MODEL.backbone=resnet_vd"],
    "PPTSMv2": ["MODEL.name=PPTSMv2", "MODEL.seg_num=6"],
}  # fmt: skip
# A program of somebody else, without a line of this toolkit: what each model answers to the frames.
PROGRAM = """
import sys, numpy, openvino
frames, *models = sys.argv[1:]
for model in models:
    network = openvino.Core().compile_model(f"{model}/model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    numpy.save(f"{model}.npy", network(numpy.load(frames))[0])
assert "paddle" not in sys.modules
"""


def run_plain(folder: Path, frames: np.ndarray, models: list[str]) -> list[np.ndarray]:
    """Return the answers of the models in these folders of `folder`, from a process of its own."""
    np.save(folder / "frames.npy", frames)
    command = [sys.executable, "-c", PROGRAM, "frames.npy", *models]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return [np.load(folder / f"{model}.npy") for model in models]


@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("settings", NETWORKS.values(), ids=NETWORKS)
def test_openvino_alone_gets_the_probabilities_of_the_tiny_network(workspace, tmp_path, settings):
    config, model = tiny_network(workspace, *settings)
    assert save_openvino(model, config, tmp_path) < 1e-5
    assert {file.name for file in tmp_path.iterdir()} == {"model.xml", "model.bin"}
    shape = exporting.graph_shape(config)[1:]
    frames = np.random.default_rng(1).integers(0, 256, (2, *shape), dtype=np.uint8)
    frames[:, ::2] //= 3  # with equal frames, a shift between them would not show
    expected = probabilities(model, frames)
    assert expected.std(axis=1).min() > 1e-3, "the classes are too alike to show a mistake"
    network = openvino.Core().compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(network(frames)[0], expected, atol=1e-5)


@pytest.mark.usefixtures("narrow_networks")
def test_nothing_is_left_of_a_graph_that_differs(workspace, tmp_path, monkeypatch):
    config, model = tiny_network(workspace)
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(RunError, match="nothing was written$"):
        save_openvino(model, config, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("narrow_networks")
def test_int8_is_compared_and_written_for_a_plain_program(workspace, tmp_path):
    pytest.importorskip("nncf")
    config, model = tiny_network(workspace)
    paddle.save(model.state_dict(), str(tmp_path / "TSN.pdparams"))
    keys = f"INFER.calibration={workspace.folder / 'train.list'}", "INFER.int8_agreement=0"
    ended = run_narrow(
        "export", workspace.config, f"--weights={tmp_path / 'TSN.pdparams'}", "--format=openvino", "--precision=int8",
        f"--save_dir={tmp_path / 'int8'}", *(flag for key in keys for flag in ("--set", key)),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert re.search(
        "\ncompared with the network in float32: rounded by 5 videos; of 5 others . keep their top-1", ended.stdout
    )
    (tmp_path / "float32").mkdir()
    save_openvino(model, config, tmp_path / "float32")
    size = {name: (tmp_path / name / "model.bin").stat().st_size for name in ("int8", "float32")}
    assert size["int8"] < 0.3 * size["float32"]
    frames = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32, 3), dtype=np.uint8)
    rounded, exact = run_plain(tmp_path, frames, ["int8", "float32"])
    np.testing.assert_allclose(exact, probabilities(model, frames), atol=1e-5)
    assert 0 < np.abs(rounded - exact).max() < 0.2


@pytest.mark.parametrize("format", ["paddle", "onnx"])
def test_int8_is_refused_in_other_formats(workspace, tmp_path, format):
    flags = [workspace.config, workspace.weights, f"--format={format}", f"--save_dir={tmp_path / 'out'}"]
    ended = run_narrow("export", *flags, "--precision=int8")
    assert ended.returncode == 2 and ended.stderr.startswith("error: --precision=int8 is for --format=openvino")

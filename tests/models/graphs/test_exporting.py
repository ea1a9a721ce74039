"""The files of export.py give the network's answers in programs without this toolkit, or they are not written."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

import export
from conftest import LABELS, ROOT, run_narrow, run_python, run_script, says
from make_fixtures import FIXTURES
from models import section_model
from models.graphs import exporting
from models.weights.fitting import load_model
from networks import probabilities, tiny_network
from results.openvino_format import save_openvino
from utils.config.loading import Config, load_config
from utils.errors import InputError, RunError
from weight_formats import random_state, write_pickle

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install -r requirements-test.txt")
pytest.importorskip("paddle2onnx", reason="pip install -r requirements-test.txt")

INSTALL = "pip install -r requirements-onnx.txt"
pytestmark = pytest.mark.usefixtures("all_narrow")


def check_onnx(file: Path, config: Config, model: paddle.nn.Layer, tmp_path: Path) -> None:
    """Check the documented interface, the answers against the model's, and the configuration in the metadata."""
    session = onnxruntime.InferenceSession(file)
    [given], [answer] = session.get_inputs(), session.get_outputs()
    shape = exporting.graph_shape(config)[1:]
    assert (given.name, given.type, given.shape) == ("frames", "tensor(uint8)", ["N", *shape])
    assert (answer.name, answer.type, answer.shape) == ("probabilities", "tensor(float)", ["N", 4])
    frames = np.random.default_rng(1).integers(0, 256, (2, *shape), dtype=np.uint8)
    frames[:, ::2] //= 3  # a shift between frames shows only if they differ
    expected = probabilities(model, frames)
    assert expected.std(axis=1).min() > 1e-3, "all classes are equal: an error would not show"
    np.testing.assert_allclose(session.run(None, {"frames": frames})[0], expected, atol=1e-5)
    if config.model.name in ("TSM", "PPTSMv2"):
        assert np.abs(probabilities(model, frames[:, ::-1].copy()) - expected).max() > 1e-4
    (tmp_path / "config.yaml").write_text(session.get_modelmeta().custom_metadata_map["config"])
    assert load_config(tmp_path / "config.yaml") == config


@pytest.fixture
def forked_converter(monkeypatch) -> None:
    """Convert graphs in forks of a process that has imported paddle. `exported` uses the real process."""

    def run(command: list[str], cwd: Path, **how: object) -> subprocess.CompletedProcess:
        return run_python(command[1:], dict(os.environ), cwd, 120, kind="train")

    monkeypatch.setattr(exporting.subprocess, "run", run)


# The halves of 45 are odd: the shortcuts of ResNet-vd average windows that reach over the edge.
NETWORKS = [
    ["MODEL.name=TSN"],
    ["MODEL.name=TSN", "MODEL.backbone=resnet_vd", "INFER.target_size=45", "INFER.short_size=45", "INFER.seglen=2"],
    ["MODEL.name=TSM", "INFER.seg_num=5"],
    ["MODEL.name=PPTSMv2", "MODEL.seg_num=5"],
]
TSM_ON_VD = ["MODEL.name=TSM", "MODEL.backbone=resnet_vd", "INFER.short_size=40"]


@pytest.mark.parametrize("settings", NETWORKS, ids=["TSN", "TSN on vd", "TSM", "PPTSMv2"])
def test_onnx_gives_the_probabilities_of_the_tiny_network(workspace, tmp_path, settings, forked_converter):
    config, model = tiny_network(workspace, *settings)
    model.fc.weight.set_value(4 * model.fc.weight)  # so that the classes differ
    assert exporting.save_onnx(model, config, tmp_path) < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    check_onnx(tmp_path / "model.onnx", config, model, tmp_path)


def test_a_program_that_gives_other_probabilities_is_found(workspace):
    config, model = tiny_network(workspace, *TSM_ON_VD)
    shape = exporting.graph_shape(config)
    _, other = tiny_network(workspace, *TSM_ON_VD)
    for layer in other.sublayers():
        if hasattr(layer, "activation"):
            layer.activation = paddle.nn.functional.relu

    wrong = {
        "time runs backwards": lambda frames: probabilities(model, frames[:, ::-1].copy()),
        "ReLU that does not leak": lambda frames: probabilities(other, frames),
        "a little": lambda frames: probabilities(model, frames) + np.float32(2e-4),
        "no number": lambda frames: probabilities(model, frames) * np.float32("nan"),
        "the first video alone": lambda frames: probabilities(model, frames[:1]).repeat(len(frames), axis=0),
    }
    for what, run in wrong.items():
        with pytest.raises(RunError, match="^the exported graph gives other probabilities than the network, by up to"):
            print(what, exporting.difference_to(run, model, shape))
    with pytest.raises(RunError, match=r"^the exported graph answers \[1\] where the network does \[1, 4\]$"):
        exporting.difference_to(lambda frames: probabilities(model, frames)[:, 0], model, shape)
    assert exporting.difference_to(lambda frames: probabilities(model, frames) + np.float32(5e-5), model, shape) < 1e-4


def test_nothing_is_left_of_a_graph_that_differs(workspace, tmp_path, monkeypatch):
    config, model = tiny_network(workspace)
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(RunError, match="nothing was written$"):
        exporting.save_paddle(model, config, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_file_that_differs(workspace, exported, tmp_path, monkeypatch):
    """The converter returns the file of another network with the same shapes."""
    config, model = tiny_network(workspace)
    monkeypatch.setattr(exporting, "_converted", lambda graph: exported[0] / "model.onnx")
    with pytest.raises(RunError, match="nothing was written$"):
        exporting.save_onnx(model, config, tmp_path)
    assert list(tmp_path.iterdir()) == []


class FullDisk:
    """A disk with room for so many bytes."""

    def __init__(self, room: int):
        self.room = room

    def __call__(self, dir: Path) -> "FullDisk":
        return self

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *_) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("error", "room", "why"),
    [
        (RuntimeError("[json.exception.parse_error.101] parse error\nat line 1"), 0, "No space left on device"),
        (RuntimeError("basic_ios::clear: iostream error"), 3 << 20, "No space left on device"),
        (ValueError("half a file"), 9 << 20, "half a file"),
        (RuntimeError(""), 9 << 20, "RuntimeError"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "x"), 9 << 20, "Disk quota exceeded"),
    ],
    ids=["no room", "less than a file's", "room", "no message", "the system's"],
)
def test_a_full_disk_is_named_whatever_a_library_says_of_it(tmp_path, monkeypatch, error, room, why):
    """Some libraries call the half-written file damaged, others delete it."""
    monkeypatch.setattr(exporting.tempfile, "TemporaryFile", FullDisk(room))
    whole = exporting.whole_or_not_at_all(tmp_path)
    with pytest.raises(RunError) as raised, whole as made, exporting.halfway(made) as traced:
        (traced / "weights").write_bytes(bytes(4 << 20))
        raise error
    says(raised.value, f"{tmp_path}: ", "the graph", f": {why}")
    assert not os.listdir(tmp_path)


def test_a_converter_that_fails_says_why(workspace, tmp_path, monkeypatch):
    (tmp_path / "paddle2onnx.py").write_text("raise RuntimeError('no operator of that name')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "out").mkdir()
    config, model = tiny_network(workspace)
    said = "paddle2onnx .* exit code 1: RuntimeError: no operator of that name"
    with pytest.raises(RunError, match=f"^{tmp_path / 'out'}: .* {said}$"):
        exporting.save_onnx(model, config, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "paddle2onnx"])
def test_a_missing_package_is_named(package, monkeypatch):
    exporting.check_packages("onnx")
    monkeypatch.setitem(sys.modules, package, None)
    exporting.check_packages("paddle")
    with pytest.raises(InputError, match=f"^--format=onnx .* {package}, .* not installed: {INSTALL}$"):
        exporting.check_packages("onnx")


def test_a_missing_package_is_named_before_anything_is_written(workspace, tmp_path, monkeypatch):
    flags = [workspace.config, "--format=onnx", "--weights=none", f"--save_dir={tmp_path / 'out'}", "--use_gpu=False"]
    monkeypatch.setattr(sys, "argv", ["export.py", *flags])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=f"^--format=onnx .* onnxruntime, .* not installed: {INSTALL}$"):
        export.main()
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_utf8_is_refused(workspace, tmp_path):
    folder = tmp_path / "out \udcff"
    ended = run_script("export", workspace.config, "--weights=none", f"--save_dir={folder}", "--use_gpu=False")
    assert (ended.returncode, ended.stdout) == (2, "") and not folder.exists()
    says(ended.stderr, f"error: --save_dir={tmp_path}/out \\udcff: ", "a name in UTF-8")


# The programs of docs/export.md

PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def exported(all_narrow, workspace, tmp_path_factory) -> tuple[Path, list[str]]:
    """Return a folder with all formats of a TSM on ResNet-vd (ONNX from export.py), and its network's settings."""
    folder = tmp_path_factory.mktemp("both")
    write_pickle(folder / "TSM.pdparams", random_state(18, len(LABELS), vd=True, narrow=True))
    settings = [*TSM_ON_VD, f"INFER.weights={folder / 'TSM.pdparams'}"]
    out = folder / "exported"
    out.mkdir()
    config, model = loaded(workspace, settings)
    exporting.save_paddle(model, config, out)
    save_openvino(model, config, out)
    ended = run_narrow("export", workspace.config, *flags_of(settings), f"--save_dir={out}", "--format=onnx")
    assert (ended.returncode, ended.stderr) == (0, "")
    compared, done = ended.stdout.splitlines()[-2:]
    assert re.fullmatch(
        r"compared with the network on random frames: its probabilities differ by (0|\de-\d\d) at most", compared
    )
    assert done.endswith(f" to {out}: uint8 frames [N, 3, 32, 32, 3] in, probabilities [N, 4] out")
    return out, settings


def loaded(workspace, settings: list[str]) -> tuple[Config, paddle.nn.Layer]:
    """Return the configuration with the settings, and its network with the weights that they name."""
    config = load_config(str(workspace.folder / "tiny.yaml"), {}, settings)
    return config, load_model(section_model(config.model, config.infer), Path(config.infer.weights))


def flags_of(settings: list[str]) -> list[str]:
    return [flag for setting in settings for flag in ("--set", setting)]


def test_the_command_writes_what_the_network_gives(exported, workspace, tmp_path):
    folder, settings = exported
    check_onnx(folder / "model.onnx", *loaded(workspace, settings), tmp_path)


def test_all_formats_lie_in_one_folder(exported):
    names = "config.yaml model.bin model.json model.onnx model.pdiparams model.xml weights.pdparams".split()
    assert sorted(file.name for file in exported[0].iterdir()) == names


def test_the_programs_of_the_documentation_name_the_classes_of_predict(exported, workspace, tmp_path):
    folder, settings = exported
    video = str(FIXTURES / "rotated_90.mp4")  # rotated, as phones record
    flags = f"--video_path={video}", "--infer_topk=4", f"--save_dir={tmp_path}", "--report=False"
    ended = run_narrow("predict", workspace.config, *flags_of(settings), *flags)
    assert ended.returncode == 0, ended.stderr
    [result] = json.loads((tmp_path / "predictions.json").read_text())
    expected = [(p["class_id"], pytest.approx(p["probability"], abs=2e-4)) for p in result["predictions"]]
    assert len({p["probability"] for p in result["predictions"]}) == 4 and len(PROGRAMS) == 3
    for program in PROGRAMS:
        assert len(program.splitlines()) <= 15
        ended = subprocess.run([sys.executable, "-c", program, video], cwd=folder, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        found = [line.split() for line in ended.stdout.splitlines()]
        assert [(int(k), float(p)) for k, p in found] == expected

"""The formats of export.py: each function writes its files only after they gave the same answers as the network.

If it is killed between two renamings, it leaves no graph beside the weights of another export.

paddle: model.json, model.pdiparams, weights.pdparams, config.yaml; models/weights/exported.py says what each is for.
openvino: see results/openvino_format.py.
onnx:   model.onnx alone, for onnxruntime and other readers of ONNX: uint8 `frames` in, `probabilities` out; `config`
        in its metadata is the configuration of the export.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import paddle

from models.weights.exported import CONFIG, STEM, WEIGHTS, describe_files
from utils.config.loading import Config
from utils.errors import RunError
from utils.packages import import_extra
from utils.storage.files import flush_folder, rename

# The largest difference allowed between two probabilities of one class.
TOLERANCE = 1e-4
# The oldest opset with all operators of these networks: most converters and runtimes can read it.
OPSET = 13
# Files that belong together, in the order in which they get their names. The graph is last, and its old file is deleted
# first: no program finds it beside the weights of another export. Our programs check the digest in config.yaml.
_GRAPHS = f"{STEM}.json", f"{STEM}.xml"
_ORDER = f"{STEM}.pdiparams", f"{STEM}.bin", CONFIG, WEIGHTS, *_GRAPHS
_UNFINISHED = ".export-"
_BLOCK = 1 << 20
_PACKAGES = ("onnx", "onnxruntime", "paddle2onnx")
Run = Callable[[np.ndarray], np.ndarray]
ACTIVATIONS = {"single": paddle.nn.functional.softmax, "multi": paddle.nn.functional.sigmoid}


class ProbabilityLayer(paddle.nn.Layer):
    """uint8 frames -> probabilities: the softmax of the network's logits, or with many labels their sigmoid."""

    def __init__(self, network: paddle.nn.Layer, labels: str):
        """Take the network; labels: MODEL.labels."""
        super().__init__()
        self.network, self.activation = network, ACTIVATIONS[labels]

    @paddle.jit.not_to_static  # as in models/graphs/trace.py
    def forward(self, frames):
        return self.activation(self.network(frames))


def save_paddle(model: paddle.nn.Layer, config: Config, folder: Path) -> float:
    """Write the folder's files and return `difference_to`; `model` is in evaluation mode. Raises RunError."""
    with whole_or_not_at_all(folder) as made:
        _write_graph(model, config, made)
        graph = paddle.jit.load(str(made / STEM))
        difference = difference_to(_runs(graph), model, graph_shape(config), config.model.labels)
        paddle.save(model.state_dict(), str(made / WEIGHTS))
        text = config.dump() + describe_files(made.iterdir())
        (made / CONFIG).write_text(text, encoding="utf-8")
    return difference


def save_onnx(model: paddle.nn.Layer, config: Config, folder: Path) -> float:
    """Write model.onnx and return `difference_to`; `model` is in evaluation mode. Raises RunError."""
    import onnxruntime

    with whole_or_not_at_all(folder) as made:
        file = made / f"{STEM}.onnx"
        with halfway(made) as graph:
            _write_graph(model, config, graph)
            file.write_bytes(_finished(_converted(graph), config.dump()))
        session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
        run = lambda frames: session.run(None, {"frames": frames})[0]  # noqa: E731
        return difference_to(run, model, graph_shape(config), config.model.labels)


FORMATS = {"paddle": save_paddle, "onnx": save_onnx}


def check_packages(format: str) -> None:
    """Raise InputError if a package that the format needs is missing."""
    for package in _PACKAGES if format == "onnx" else ():
        import_extra(package, "--format=onnx", "requirements-onnx.txt")


def graph_shape(config: Config) -> list[int | None]:
    """Return [N, T, H, W, 3 * seglen] for one crop, as INFER says; N is None: any number of videos at a time."""
    section = config.infer
    return [None, section.seg_num, section.image_size, section.image_size, 3 * section.seglen]


def difference_to(run: Run, model: paddle.nn.Layer, shape: list[int | None], labels: str = "single") -> float:
    """Return the largest difference between the probabilities of `run` and of the network itself, for 1 and 3 videos.

    Raises:
        RunError: the difference is above TOLERANCE, or the answers differ in shape.
    """
    source, differences = _runs(ProbabilityLayer(model, labels)), []
    for num_videos in (1, 3):
        frames = _frames([num_videos, *shape[1:]])
        ours, theirs = source(frames), run(frames)
        if ours.shape != theirs.shape:
            raise RunError(f"the exported graph answers {list(theirs.shape)} where the network does {list(ours.shape)}")
        differences.append(float(np.abs(ours - theirs).max()))
    difference = float(np.max(differences))  # unlike max(), NaN if any is NaN
    if not difference <= TOLERANCE:
        raise RunError(
            f"the exported graph gives other probabilities than the network, by up to {difference:.2g} on random "
            f"frames where {TOLERANCE:g} is allowed; nothing was written"
        )
    return difference


def _runs(layer: paddle.nn.Layer) -> Run:
    def run(frames: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            return layer(paddle.to_tensor(frames)).numpy()

    return run


def _frames(shape: list[int]) -> np.ndarray:
    """Return random uint8 frames [N, T, H, W, C], in squares an eighth of the image wide.

    If every pixel were random, all frames would look alike to a network, and a wrong order of frames would not show.
    """
    n, t, height, width, channels = shape
    squares = np.random.default_rng(0).integers(0, 256, (n, t, 8, 8, channels), dtype=np.uint8)
    return squares[:, :, np.arange(height) * 8 // height][:, :, :, np.arange(width) * 8 // width]


@contextmanager
def whole_or_not_at_all(folder: Path) -> Iterator[Path]:
    """Yield a folder whose files move to `folder` if the block succeeds. Raises RunError if it fails.

    It removes the leftovers of killed exports, so no other process may write there.
    """
    try:
        for left in folder.glob(f"{_UNFINISHED}*"):
            if re.fullmatch(rf"{re.escape(_UNFINISHED)}\w{{8}}", left.name) and left.is_dir():
                shutil.rmtree(left)
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=folder) as unfinished:
            try:
                yield Path(unfinished)
            except (RuntimeError, ValueError):
                _check_space(Path(unfinished))
                raise
            _replace(list(Path(unfinished).iterdir()), folder)
    except (OSError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
        raise RunError(f"{folder}: the graph cannot be written: {why.splitlines()[0]}") from None


@contextmanager
def halfway(made: Path) -> Iterator[Path]:
    """Yield a subfolder of `made` for intermediate files, and remove it if the block succeeds.

    If the block fails, the subfolder stays as long as `made`: `_check_space` must find a full disk still full.
    """
    folder = made / "halfway"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def _check_space(folder: Path) -> None:
    """Raise OSError if the disk has no room for a second copy of the folder's largest file.

    The libraries do not report a full disk: Paddle complains about the half-written file, and OpenVINO deletes it and
    gives no reason.
    """
    size = max((file.stat().st_size for file in folder.rglob("*")), default=0)
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(0, size + 1, _BLOCK):
            file.write(bytes(_BLOCK))


def _replace(files: list[Path], folder: Path) -> None:
    """Move the files to the folder, replacing files of the same names. Raises OSError."""
    for file in files:
        with open(file, "r+b") as written:
            os.fsync(written.fileno())
    if len(files) > 1:  # a single file is either the old or the new one at any moment
        for graph in {file.name for file in files}.intersection(_GRAPHS):
            (folder / graph).unlink(missing_ok=True)
        flush_folder(folder)
    for file in sorted(files, key=lambda file: _ORDER.index(file.name) if file.name in _ORDER else -1):
        rename(file, folder / file.name)


def _write_graph(model: paddle.nn.Layer, config: Config, folder: Path) -> None:
    """Write model.json and model.pdiparams. Raises OSError or RuntimeError."""
    specification = [paddle.static.InputSpec(graph_shape(config), "uint8", "frames")]
    paddle.jit.save(ProbabilityLayer(model, config.model.labels), str(folder / STEM), specification)


def _converted(graph: Path) -> Path:
    """Convert the graph in the folder to an ONNX file, and return its path.

    A process does it, because paddle2onnx aborts at operators that it does not know. Its optimisers are off:
    onnxruntime has its own, and the default one would install packages.
    """
    flags = {
        "model_dir": ".",
        "model_filename": f"{STEM}.json",
        "params_filename": f"{STEM}.pdiparams",
        "save_file": f"{STEM}.onnx",
        "opset_version": OPSET,
        "optimize_tool": "None",
    }
    command = [sys.executable, "-m", "paddle2onnx.command", *(f"--{name}={value}" for name, value in flags.items())]
    ended = subprocess.run(command, cwd=graph, capture_output=True, text=True, errors="backslashreplace")
    file = graph / f"{STEM}.onnx"
    if ended.returncode or not file.is_file():
        said = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        raise RuntimeError(f"paddle2onnx ended with exit code {ended.returncode}: {said[-1] if said else 'no message'}")
    return file


def _finished(file: Path, config: str) -> bytes:
    """Return the converted network with our names and metadata, and without the defects that paddle2onnx 2.1 adds."""
    import onnx

    model = onnx.load(file)
    graph = model.graph
    [frames], [answer] = graph.input, graph.output
    for node in graph.node:
        node.output[:] = ["probabilities" if name == answer.name else name for name in node.output]
        if node.op_type == "LeakyRelu":
            del node.attribute[:]  # paddle2onnx reads 8 bytes as 4, a slope of 1e-43; the default is Paddle's, 0.01
    answer.name = "probabilities"
    for value in (frames, answer):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    _drop_unused(graph)
    onnx.helper.set_model_props(model, {"config": config})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _drop_unused(graph) -> None:
    """Remove nodes and constants that no output depends on: onnxruntime would warn of each."""
    needed = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):  # a node comes after the nodes it reads from
        if needed.intersection(node.output):
            needed.update(node.input)
        else:
            graph.node.remove(node)
    for tensor in list(graph.initializer):
        if tensor.name not in needed:
            graph.initializer.remove(tensor)

"""From a model to engines that compute it: its graph exported, optimised for oneDNN, kept between runs, and opened."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import paddle
import paddle.inference

from inference.cache import load_or_make
from inference.engine import Engine, create_predictor
from inference.precision import processor
from inference.processes import EngineProcesses
from utils.config.keys import ModelConfig
from utils.processes.limits import available_memory

# Operators in bfloat16. The normalisation stays in float32: it takes no time, but loses digits.
# The last three shift channels: in float32 they would be converted before and behind it.
_BFLOAT16_OPERATORS = {"conv2d", "fused_conv2d", "pool2d", "concat", "slice", "split"}
# A process takes 1 to 2 s to start, a call 0.1 to 0.6 s.
_CALLS_PER_PROCESS = 16
# Where fewer processes than cores run, each has several threads.
_MOST_PROCESSES = 8
_BYTES_PER_PROCESS = 1 << 30  # 500 to 700 MB for ResNet-50
_SOURCES = [*sorted((Path(__file__).parents[1] / "models").rglob("*.py")), *sorted(Path(__file__).parent.glob("*.py"))]


class Classifier:
    """The linear layer behind the graph: features float32 [..., F] -> logits float32 [..., K]."""

    FILE = "classifier.npz"

    def __init__(self, folder: Path):
        """folder: what `open_engine` has written. Raises OSError or ValueError where it cannot be loaded."""
        with np.load(folder / self.FILE) as file:
            self._weight, self._bias = file["weight"], file["bias"]  # [F, K], [K]
        self.num_features = len(self._weight)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return features @ self._weight + self._bias

    @classmethod
    def save(cls, layer: paddle.nn.Linear, folder: Path) -> None:
        np.savez(folder / cls.FILE, weight=layer.weight.numpy(), bias=layer.bias.numpy())


def open_engine(
    config: ModelConfig,
    image_size: int,
    precision: str,
    weights_digest: str,
    model: Callable[[], paddle.nn.Layer],
    cores: int,
    calls: int,
) -> tuple[Engine | EngineProcesses, Classifier]:
    """The network from segments uint8 [B, H, W, C], H and W being `image_size`, to their features float32 [B, F].

    The optimised graph is kept between runs, under the digest of all that it depends on: with it, neither the model
    is built nor its weights are parsed. `model` builds it where there is none.

    cores: for the network. Where `calls`, as many as are to be expected, are worth it, each has an engine of its own:
    two threads in one engine wait for each other after every operator, and spin while a reader has the core.
    """
    facts = {
        "model": asdict(config),
        "weights": weights_digest,
        "image_size": image_size,
        "precision": precision,
        "code": [hashlib.sha256(source.read_bytes()).hexdigest() for source in _SOURCES],
        "paddle": [paddle.__version__, paddle.version.commit],
        "processor": processor(),
    }
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    shape = [None, image_size, image_size, 3 * config.seglen]

    def make(folder: Path) -> None:
        network = model()
        _export(network, shape, folder)
        _optimise(folder, precision)
        Classifier.save(network.fc, folder)

    memory = available_memory()
    room = _MOST_PROCESSES if memory is None else min(_MOST_PROCESSES, memory // _BYTES_PER_PROCESS)
    number = max(1, min(cores, calls // _CALLS_PER_PROCESS, room))

    def load(folder: Path) -> tuple[Engine | EngineProcesses, Classifier]:
        engine = Engine(folder, cores) if number == 1 else EngineProcesses(folder, number, cores // number)
        return engine, Classifier(folder)

    return load_or_make(key, make, load)


class _FrameFeatures(paddle.nn.Layer):
    """uint8 [B, H, W, C] -> features float32 [B, F] of each segment; B are one video's where the model shifts."""

    def __init__(self, network: paddle.nn.Layer):
        super().__init__()
        self.network = network

    # Traced as it runs: no branch depends on values, and to rewrite its source takes 0.8 s and a home to write to.
    @paddle.jit.not_to_static
    def forward(self, frames):
        return self.network.frame_features(frames)


def _export(model: paddle.nn.Layer, shape: list[int | None], folder: Path) -> None:
    """Writes graph.pdmodel and graph.pdiparams, in the format that `set_environment` asks for.

    Raises RuntimeError when paddle was imported without it.
    """
    if paddle.framework.use_pir_api():
        raise RuntimeError("paddle was imported before inference.start.set_environment was called")
    model.eval()
    paddle.jit.save(_FrameFeatures(model), str(folder / "graph"), [paddle.static.InputSpec(shape, "uint8", "frames")])


def _optimise(folder: Path, precision: str) -> None:
    """Replaces the graph by one whose operators are fused for oneDNN: _optimized.pdmodel and _optimized.pdiparams."""
    graph = [folder / f"graph.{suffix}" for suffix in ("pdmodel", "pdiparams")]
    settings = paddle.inference.Config(*map(str, graph))
    settings.enable_memory_optim()
    settings.set_optim_cache_dir(str(folder))
    settings.enable_save_optim_model(True)
    if precision == "bfloat16":
        settings.enable_mkldnn_bfloat16()
        settings.set_bfloat16_op(_BFLOAT16_OPERATORS)
    with _quiet():
        create_predictor(settings, threads=1)
    for file in folder.glob("graph.*"):
        file.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps off the screen what paddle's passes print about themselves, past every log level."""
    sys.stderr.flush()
    screen = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(screen, 2)
            os.close(screen)

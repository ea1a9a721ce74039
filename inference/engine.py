"""The network on the CPU: a graph that oneDNN computes through paddle.inference, and the calls cut to its best size."""

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
from inference.precision import processor
from utils.config_keys import ModelConfig
from utils.errors import InputError

# What one call computes at most: more frames fall out of the caches, fewer leave the weights' reordering unpaid.
FRAMES_PER_CALL = 8
# Operators in bfloat16. The normalisation and the classifier stay in float32: they take no time, but lose digits.
_BFLOAT16_OPERATORS = {"conv2d", "fused_conv2d", "pool2d"}
# For each number of frames oneDNN keeps the weights in another order (100 to 200 MB): no more than two of them.
_SHAPES_KEPT = 2
_SOURCES = sorted((Path(__file__).parents[1] / "models").glob("*.py")) + [Path(__file__)]

Forward = Callable[[np.ndarray], np.ndarray]


def open_engine(
    config: ModelConfig, image_size: int, precision: str, threads: int, weights_digest: str, model: Callable[[], paddle.nn.Layer]
) -> Forward:
    """A function from uint8 frames [N, T, H, W, C] to logits float32 [N, K], H and W being `image_size`.

    The optimised graph is kept between runs, under the digest of all that it depends on: with it, neither the model
    is built nor its weights are parsed. `model` builds it where there is none.
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
        _export(model(), shape, folder)
        _optimise(folder, precision)

    def load(folder: Path) -> Forward:
        settings = paddle.inference.Config(str(folder / "_optimized.pdmodel"), str(folder / "_optimized.pdiparams"))
        settings.switch_ir_optim(False)  # done
        settings.enable_memory_optim()
        return open_predictor(settings, threads)

    run = load_or_make(key, make, load)

    def forward(frames: np.ndarray) -> np.ndarray:
        n, t, *image = frames.shape
        logits = run_in_parts(run, frames.reshape(n * t, *image), FRAMES_PER_CALL)  # [N * T, K]
        return logits.reshape(n, t, -1).mean(axis=1)  # [N, K]

    return forward


class _FrameLogits(paddle.nn.Layer):
    """uint8 [B, H, W, C] -> logits of each segment, float32 [B, K]."""

    def __init__(self, network: paddle.nn.Layer):
        super().__init__()
        self.network = network

    def forward(self, frames):
        return self.network.frame_logits(frames)


def _export(model: paddle.nn.Layer, shape: list[int | None], folder: Path) -> None:
    """Writes graph.pdmodel and graph.pdiparams, in the format that `set_environment` asks for.

    Raises RuntimeError when paddle was imported without it.
    """
    if paddle.framework.use_pir_api():
        raise RuntimeError("paddle was imported before inference.environment.set_environment was called")
    model.eval()
    paddle.jit.save(_FrameLogits(model), str(folder / "graph"), [paddle.static.InputSpec(shape, "uint8", "frames")])


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
        open_predictor(settings, threads=1)
    for file in folder.glob("graph.*"):
        file.unlink()


def open_predictor(settings: paddle.inference.Config, threads: int) -> Forward:
    """A function from the graph's only input to its only output, computed by oneDNN in `threads` threads.

    Raises:
        RuntimeError or ValueError: paddle.inference cannot load the graph.
    """
    settings.disable_glog_info()
    settings.enable_mkldnn()
    settings.set_mkldnn_cache_capacity(_SHAPES_KEPT)
    settings.set_cpu_math_library_num_threads(threads)
    predictor = paddle.inference.create_predictor(settings)
    source = predictor.get_input_handle(predictor.get_input_names()[0])
    result = predictor.get_output_handle(predictor.get_output_names()[0])

    def run(array: np.ndarray) -> np.ndarray:
        source.reshape(array.shape)
        source.copy_from_cpu(array)
        predictor.run()
        return result.copy_to_cpu()

    return run


def run_in_parts(run: Forward, items: np.ndarray, most: int) -> np.ndarray:
    """What `run` returns for `items`, computed `most` at a time or fewer, in parts whose sizes differ by one at most."""
    number = -(-len(items) // most)
    parts = np.array_split(items, number)
    return np.concatenate([run(np.ascontiguousarray(part)) for part in parts])


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

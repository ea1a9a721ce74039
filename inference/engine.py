"""The network on the CPU: a graph that oneDNN computes through paddle.inference, on all cores, cut to its best size."""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import paddle
import paddle.inference

from inference.cache import load_or_make
from inference.precision import processor
from utils.config_keys import ModelConfig

# What one call computes at most: more frames fall out of the caches, fewer leave the weights' reordering unpaid.
FRAMES_PER_CALL = 8
# Operators in bfloat16. The normalisation and the classifier stay in float32: they take no time, but lose digits.
_BFLOAT16_OPERATORS = {"conv2d", "fused_conv2d", "pool2d"}
# For each number of frames oneDNN keeps the weights in another order (100 to 200 MB): no more than two of them.
_SHAPES_KEPT = 2
# More predictors than this would take memory (100 to 200 MB each) rather than time; they get more threads instead.
_MOST_PREDICTORS = 8
_SOURCES = sorted((Path(__file__).parents[1] / "models").glob("*.py")) + [Path(__file__)]


def open_engine(
    config: ModelConfig,
    image_size: int,
    precision: str,
    weights_digest: str,
    model: Callable[[], paddle.nn.Layer],
    cores: int,
    calls: int,
) -> "Engine":
    """The network from segments uint8 [B, H, W, C], H and W being `image_size`, to their logits float32 [B, K].

    The optimised graph is kept between runs, under the digest of all that it depends on: with it, neither the model
    is built nor its weights are parsed. `model` builds it where there is none. cores, calls: see `Engine`.
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

    def load(folder: Path) -> Engine:
        settings = paddle.inference.Config(str(folder / "_optimized.pdmodel"), str(folder / "_optimized.pdiparams"))
        settings.switch_ir_optim(False)  # done
        settings.enable_memory_optim()
        return Engine(settings, cores, calls)

    return load_or_make(key, make, load)


class Engine:
    """A graph with one input and one output, computed by oneDNN on some cores.

    On several cores each has a predictor of its own and they share the calls: two threads in one predictor would wait
    for each other after every operator, and spin while a reader has the core that they wait for.
    """

    def __init__(self, settings: paddle.inference.Config, cores: int, calls: int):
        """calls: as many calls are to be expected; where they are fewer than cores, several cores share one.

        Raises:
            RuntimeError or ValueError: paddle.inference cannot load the graph.
        """
        self.parallel = max(1, min(cores, calls, _MOST_PREDICTORS))
        settings.disable_glog_info()
        settings.enable_mkldnn()
        settings.set_mkldnn_cache_capacity(_SHAPES_KEPT)
        settings.set_cpu_math_library_num_threads(cores // self.parallel)
        predictor = paddle.inference.create_predictor(settings)
        predictors = [predictor, *(predictor.clone() for _ in range(self.parallel - 1))]
        # A predictor stays with its thread: oneDNN keeps the weights' order of each pair of them.
        self._of_thread = threading.local()
        self._pool = ThreadPoolExecutor(
            self.parallel, "predictor", lambda: setattr(self._of_thread, "predictor", predictors.pop())
        )

    def start(self, frames: np.ndarray) -> Callable[[], np.ndarray]:
        """A function that waits for the output for `frames` [B, ...], at least one, and returns it.

        They are computed FRAMES_PER_CALL at a time or fewer, in parts whose sizes differ by one at most.
        """
        parts = np.array_split(frames, -(-len(frames) // FRAMES_PER_CALL))
        results = [self._pool.submit(self._run, part) for part in parts]
        return lambda: np.concatenate([result.result() for result in results])

    def _run(self, part: np.ndarray) -> np.ndarray:
        predictor = self._of_thread.predictor
        source = predictor.get_input_handle(predictor.get_input_names()[0])
        source.reshape(part.shape)
        source.copy_from_cpu(part)
        predictor.run()
        return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


class _FrameLogits(paddle.nn.Layer):
    """uint8 [B, H, W, C] -> logits of each segment, float32 [B, K]."""

    def __init__(self, network: paddle.nn.Layer):
        super().__init__()
        self.network = network

    # Traced as it runs: no branch depends on values, and to rewrite its source takes 0.8 s and a home to write to.
    @paddle.jit.not_to_static
    def forward(self, frames):
        return self.network.frame_logits(frames)


def _export(model: paddle.nn.Layer, shape: list[int | None], folder: Path) -> None:
    """Writes graph.pdmodel and graph.pdiparams, in the format that `set_environment` asks for.

    Raises RuntimeError when paddle was imported without it.
    """
    if paddle.framework.use_pir_api():
        raise RuntimeError("paddle was imported before inference.start.set_environment was called")
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
        Engine(settings, cores=1, calls=1)
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

"""From a model to its engine: traced by Paddle, compiled by OpenVINO, kept between runs."""

import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from inference.cache import Files, load_or_make
from inference.engine import FRAMES_PER_CALL, Engine, settings
from inference.int8 import Agreement, Answer, Calibration, compare, quantise
from inference.runtime import get_core, openvino
from inference.views import Output, Start
from metrics.accuracy import probabilities
from models.graphs.trace import CLASSIFIER, GRAPH, trace_segments
from utils.config.shared_keys import ModelConfig
from utils.errors import RunError, last_line
from utils.processes.limits import available_cores, available_memory

_COMPILED, _AGREEMENT = "compiled.blob", "agreement.json"
_BYTES_PER_STREAM = 256 << 20  # for 8 frames of 224x224 in float32


class _UntracedError(Exception):
    """The network cannot be traced, so there is nothing to keep."""


class LinearHead:
    """The linear layer after the graph: features float32 [N, T, F] -> logits float32 [N, K]."""

    def __init__(self, content: bytes):
        """Take the content of the file CLASSIFIER. Raise KeyError or ValueError if it cannot be loaded."""
        with np.load(io.BytesIO(content)) as file:
            weight, self._bias, self.shifts = file["weight"], file["bias"], bool(file["shifts"])  # [F, K], [K]
        self.num_features = len(weight)
        # Sums of partial sums round less than one long sum. Without BLAS, whose sums depend on the number of videos and
        # of threads.
        self._weight = weight.reshape(-1, math.gcd(self.num_features, 64), weight.shape[1])  # [F / B, B, K]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        return np.stack([self._logits(video.mean(axis=0)) for video in features])

    def _logits(self, features: np.ndarray) -> np.ndarray:
        """Return float32 [K] of float32 [F]."""
        parts = features.reshape(self._weight.shape[:2])
        return np.einsum("pf,pfk->pk", parts, self._weight).sum(axis=0) + self._bias


class Opened(NamedTuple):
    """An engine, the layer after it, and for int8 how well they agree with float32."""

    engine: Engine
    head: LinearHead
    agreement: Agreement | None


def streams_and_threads(num_ranks: int) -> tuple[int, int]:
    """Return (streams, threads): one stream per core of this process, if memory suffices, and all streams' threads."""
    cores, memory = max(1, available_cores() // num_ranks), available_memory()
    room = cores if memory is None else max(1, memory // num_ranks // _BYTES_PER_STREAM)
    return min(cores, room), cores


def open_graph(
    key: str,
    kept: Files | None,
    config: ModelConfig,
    image_size: int,
    precision: str,
    weights: Callable[[Path], Path],
    streams: int,
    threads: int,
    calibration: Calibration | None = None,
) -> Opened | None:
    """Return the network from segments uint8 [B, H, W, C] to their features float32 [B, F], and its head.

    Return None if the network cannot be traced. With the files `kept` under `key` the model is not built and its
    weights are not parsed. weights: returns the file of weights, which it may write into the given folder.
    calibration: for int8.

    Raises:
        InputError: the weights, or the calibration's videos, cannot be read or do not fit.
        RunError: Paddle, OpenVINO or NNCF failed.
    """
    core, how = get_core(), settings(precision, streams, threads)

    def load(files: Files) -> Opened:
        content = files[_COMPILED]
        compiled = core.import_model(openvino.Tensor(content, shared_memory=True), "CPU", how)
        agreement = Agreement(**json.loads(files[_AGREEMENT].tobytes())) if calibration else None
        return Opened(Engine(compiled, streams, content), LinearHead(files[CLASSIFIER].tobytes()), agreement)

    def make(folder: Path) -> Opened:
        if not trace_segments(config, weights(folder), image_size, folder):
            raise _UntracedError
        try:
            graph, agreement = core.read_model(folder / GRAPH), None
            head = LinearHead((folder / CLASSIFIER).read_bytes())
            if calibration:
                graph, agreement = _rounded(core, graph, head, calibration, how)
                (folder / _AGREEMENT).write_text(json.dumps(asdict(agreement)))
            compiled = core.compile_model(graph, "CPU", how)
            (folder / _COMPILED).write_bytes(compiled.export_model().getbuffer())
        except RuntimeError as error:
            raise RunError(f"OpenVINO cannot compute the network: {last_line(error)}") from None
        for file in folder.iterdir():
            if file.name not in (_COMPILED, CLASSIFIER, _AGREEMENT):
                file.unlink()
        return Opened(Engine(compiled, streams), head, agreement)

    try:
        return load_or_make(key, kept, load, make)
    except _UntracedError:
        return None


def _rounded(
    core: openvino.Core, graph: openvino.Model, head: LinearHead, calibration: Calibration, how: dict[str, object]
) -> tuple[openvino.Model, Agreement]:
    """Return the graph in int8, and how well it agrees with the same graph in float32."""
    used, others = calibration.clips()
    result = quantise(graph, used)

    def answer_of(graph: openvino.Model) -> Answer:
        start = engine_start(Engine(core.compile_model(graph, "CPU", how), 1), head)
        return lambda clip: probabilities(start(clip[None])().logits)[0]

    return result, compare(answer_of(graph), answer_of(result), others, len(used))


def engine_start(engine: Engine, head: LinearHead) -> Start:
    """Return a function that starts views uint8 [N, T, H, W, C] as calls of the engine."""

    def start(frames: np.ndarray) -> Callable[[], Output]:
        n, t, *image = frames.shape
        # Without shifts any split will do: calls whose sizes differ by at most one frame.
        calls = n if head.shifts else math.ceil(n * t / FRAMES_PER_CALL)
        wait = engine.start(np.array_split(frames.reshape(n * t, *image), calls))

        def answer() -> Output:
            features = np.concatenate(wait()).reshape(n, t, -1)  # [N * T, F] -> [N, T, F]
            return Output(head(features), features)

        return answer

    return start

"""Trace a network's graph in a separate process: only Paddle can do it, in a format that is not used elsewhere.

The process imports paddle, which takes seconds and hundreds of MB, and ends when the graph is written.
"""

import os
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from utils.cli import quieten_paddle
from utils.config.shared_keys import ModelConfig
from utils.errors import InputError, RunError
from utils.processes.child import Child, NoAnswer
from utils.storage.copies import temporary_root

GRAPH, CLASSIFIER = "graph.pdmodel", "classifier.npz"
_TIME_LIMIT = 900.0  # seconds


def trace_segments(config: ModelConfig, weights: Path, image_size: int, folder: Path) -> bool:
    """Write GRAPH, with its parameters beside it, and CLASSIFIER into `folder`. Return False if it cannot be traced.

    The graph takes the frames of segments, uint8 [B, H, W, C], H and W being `image_size`, and returns their features
    float32 [B, F]. CLASSIFIER holds `weight` [F, K], `bias` [K] and `shifts`: whether each call of the graph must get
    the frames of one video, because they exchange channels.

    Raises:
        InputError: the weights cannot be read or do not fit.
        OSError: the files cannot be written.
        RunError: Paddle failed.
    """
    return _ask(_segments, config, weights, [None, image_size, image_size, 3 * config.seglen], folder)


def trace_videos(config: ModelConfig, weights: Path, shape: Sequence[int | None], folder: Path) -> None:
    """Write GRAPH, from the frames of videos, uint8 of `shape` [N, T, H, W, C], to their probabilities float32 [N, K].

    Raise the errors of `trace_segments`.
    """
    _ask(_videos, config, weights, shape, folder)


def _ask(work: Callable, *arguments: object) -> Any:
    """Return the result of `work`, computed in a new process."""
    temporary_root()  # importing paddle needs it, too
    child = Child("the process that makes the network's graph", serve)
    try:
        kind, content = child.ask((work, *arguments), _TIME_LIMIT)
    except NoAnswer as error:
        raise RunError(f"the network's graph cannot be made: {error}") from None
    finally:
        child.kill()
    if kind == "traced":
        return content
    if kind == "failed":
        raise RunError(f"the network's graph cannot be made: {content}")
    raise {"input": InputError, "folder": OSError}[kind](content)


def serve(pipe: Connection) -> None:
    """Answer each request of `_ask`, until the pipe closes."""
    # OpenVINO reads only this older format; it does not know the operators of Paddle's newer one.
    os.environ["FLAGS_enable_pir_api"] = "0"
    quieten_paddle()
    pipe.send("ready")
    while True:
        work, *arguments = pipe.recv()
        try:
            answer = "traced", work(*arguments)
        except InputError as error:
            answer = "input", str(error)
        except OSError as error:
            answer = "folder", str(error)
        except Exception as error:  # whatever Paddle raises
            answer = "failed", f"{type(error).__name__}: {(str(error).strip() or 'without a word').splitlines()[-1]}"
        pipe.send(answer)


def _segments(config: ModelConfig, weights: Path, shape: Sequence[int | None], folder: Path) -> bool:
    from models.registry import get_model_class
    from models.weights.fitting import load_model

    if not hasattr(get_model_class(config.name), "frame_features"):
        return False
    model = load_model(config, weights)
    _save(model.frame_features, model, shape, folder)
    np.savez(folder / CLASSIFIER, weight=model.fc.weight.numpy(), bias=model.fc.bias.numpy(), shifts=model.shifts)
    return True


def _videos(config: ModelConfig, weights: Path, shape: Sequence[int | None], folder: Path) -> None:
    from paddle.nn.functional import softmax

    from models.lcnet_v2 import sigmoid
    from models.weights.fitting import load_model

    model = load_model(config, weights)
    model.use_plain_operators()
    activation = softmax if config.labels == "single" else sigmoid
    _save(lambda frames: activation(model(frames)), model, shape, folder)


def _save(compute: Callable, model: Any, shape: Sequence[int | None], folder: Path) -> None:
    """Write GRAPH: the computation `compute`(frames) with the model's parameters."""
    import paddle

    class Traced(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.network = model

        # Traced as it runs: no branch depends on values, and rewriting its source takes 0.8 s and a home folder.
        @paddle.jit.not_to_static
        def forward(self, frames):
            return compute(frames)

    specification = [paddle.static.InputSpec(shape, "uint8", "frames")]
    paddle.jit.save(Traced(), str((folder / GRAPH).with_suffix("")), specification)

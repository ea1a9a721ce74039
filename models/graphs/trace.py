"""A network's graph, in a process of its own: only Paddle can make it, and only in a format that else is not used.

The process imports paddle, which takes seconds and hundreds of MB, and is gone when the graph is there.
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
    """Write GRAPH, with its parameters beside it, and CLASSIFIER into `folder`; False: the network cannot be traced.

    The graph takes the frames of segments, uint8 [B, H, W, C], H and W being `image_size`, and returns their features
    float32 [B, F]. CLASSIFIER holds `weight` [F, K], `bias` [K], and whether the network `shifts`: whether each call
    of the graph must be the frames of one video, as they see each other.

    Raises:
        InputError: the weights cannot be read or do not fit.
        OSError: the files cannot be written.
        RunError: Paddle failed.
    """
    return _ask(_segments, config, weights, [None, image_size, image_size, 3 * config.seglen], folder)


def trace_videos(config: ModelConfig, weights: Path, shape: Sequence[int | None], folder: Path) -> None:
    """Write GRAPH: the frames of videos, uint8 of `shape` [N, T, H, W, C], to their probabilities float32 [N, K].

    Raise as `trace_segments`.
    """
    _ask(_videos, config, weights, shape, folder)


def _ask(work: Callable, *arguments: object) -> Any:
    """Return what a new process returns of `work`."""
    temporary_root()  # of which the import of paddle asks, too
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
    # OpenVINO reads no other; of the operators in Paddle's newer format it knows nothing.
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
        except Exception as error:  # whatever a Paddle raises
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
    import paddle
    from paddle.nn.functional import softmax

    from models.weights.fitting import load_model

    model = load_model(config, weights)
    model.use_plain_operators()

    def sigmoid(logits: Any) -> Any:
        # Paddle's own refuses this older kind of graph.
        return softmax(paddle.stack([logits, paddle.zeros_like(logits)], axis=-1))[..., 0]

    activation = softmax if config.labels == "single" else sigmoid
    _save(lambda frames: activation(model(frames)), model, shape, folder)


def _save(compute: Callable, model: Any, shape: Sequence[int | None], folder: Path) -> None:
    """Write GRAPH, of what `compute` makes of frames with the model."""
    import paddle

    class Traced(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.network = model

        # As it runs: no branch depends on values, and to rewrite its source takes 0.8 s and a home to write to.
        @paddle.jit.not_to_static
        def forward(self, frames):
            return compute(frames)

    specification = [paddle.static.InputSpec(shape, "uint8", "frames")]
    paddle.jit.save(Traced(), str((folder / GRAPH).with_suffix("")), specification)

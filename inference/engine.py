"""The network on the CPU: an optimised graph that oneDNN computes through paddle.inference."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle.inference

# What one call computes at most: more frames fall out of the caches, fewer leave the weights' reordering unpaid.
FRAMES_PER_CALL = 8
# For each number of frames oneDNN keeps the weights in another order (100 to 200 MB): no more than two of them.
_SHAPES_KEPT = 2


class Engine:
    """A graph with one input and one output, computed by oneDNN in the calling thread and those it starts.

    Always call it from the same thread: oneDNN keeps the weights in the order it needs for each thread.
    """

    ahead = 0

    def __init__(self, folder: Path, threads: int):
        """folder: what inference/graph.py has written. Raises RuntimeError or ValueError where it cannot be loaded."""
        graph = [folder / f"_optimized.{suffix}" for suffix in ("pdmodel", "pdiparams")]
        settings = paddle.inference.Config(*map(str, graph))
        settings.switch_ir_optim(False)  # done
        settings.enable_memory_optim()
        self._predictor = create_predictor(settings, threads)

    def start(self, parts: list[np.ndarray]) -> Callable[[], list[np.ndarray]]:
        """A function that returns the outputs for `parts`, uint8 [B, ...] each."""
        outputs = [self.compute(part) for part in parts]
        return lambda: outputs

    def close(self) -> None:
        """Lets go of the graph."""
        self._predictor = None

    def compute(self, frames: np.ndarray) -> np.ndarray:
        """The output, float32 [B, ...], for `frames`, uint8 [B, ...]; at most FRAMES_PER_CALL of them are fastest."""
        predictor = self._predictor
        source = predictor.get_input_handle(predictor.get_input_names()[0])
        source.reshape(frames.shape)
        source.copy_from_cpu(frames)
        predictor.run()
        return predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()


def create_predictor(settings: paddle.inference.Config, threads: int) -> paddle.inference.Predictor:
    settings.disable_glog_info()
    settings.enable_mkldnn()
    settings.set_mkldnn_cache_capacity(_SHAPES_KEPT)
    settings.set_cpu_math_library_num_threads(threads)
    return paddle.inference.create_predictor(settings)

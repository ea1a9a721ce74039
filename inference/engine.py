"""The network on the CPU: a compiled graph that OpenVINO computes, one call at a time in each of its streams."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from inference.runtime import openvino
from utils.errors import RunError, last_line

# Frames that one call computes at most: more would not fit into the processor's caches.
FRAMES_PER_CALL = 8
# The hint is always given, because OpenVINO's default is bfloat16 if the processor has it. With int8, the parts that
# stay in floating point are float32.
HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


def settings(precision: str, streams: int, threads: int) -> dict[str, object]:
    """Return OpenVINO's settings for the CPU: each stream computes one call; all streams share the threads."""
    return {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        # With pinning, all processes that share the cores would be bound to the same ones.
        "ENABLE_CPU_PINNING": False,
    }


class Engine:
    """A graph with one input and one output. Any thread may ask. An answer depends only on its frames."""

    def __init__(self, compiled: openvino.CompiledModel, streams: int, content: np.ndarray | None = None):
        """Start the streams. content: the bytes of the graph's file, if the graph still uses that memory."""
        self.ahead = streams
        self._own = threading.local()  # each thread's request
        # The threads do not refer to the engine: when it is garbage, they end and release the graph.
        self._threads = ThreadPoolExecutor(streams, "network", _make_request, (compiled, self._own, content))

    def start(self, parts: list[np.ndarray]) -> Callable[[], list[np.ndarray]]:
        """Return a function that waits for the outputs, float32 [B, ...] each, for `parts`, uint8 [B, ...] each.

        Parts of at most FRAMES_PER_CALL frames are fastest. The function raises RunError if OpenVINO fails, mostly for
        lack of memory.
        """
        futures: list[Future[np.ndarray]] = [self._threads.submit(self._compute, part) for part in parts]

        def outputs() -> list[np.ndarray]:
            try:
                return [future.result() for future in futures]
            except RuntimeError as error:  # from OpenVINO, or from threads that cannot be started
                raise RunError(f"the network cannot be computed: {last_line(error)}") from None

        return outputs

    def close(self) -> None:
        """Release the graph once all started calls are computed."""
        self._threads.shutdown()

    def _compute(self, frames: np.ndarray) -> np.ndarray:
        # The frames are not copied. The output is: it lies in the request's memory, which the next call overwrites.
        return self._own.request.infer({0: frames}, share_inputs=True, share_outputs=True)[0].copy()


def _make_request(compiled: openvino.CompiledModel, own: threading.local, content: np.ndarray | None) -> None:
    own.request = compiled.create_infer_request()
    own.content = content  # kept as long as the request

"""The network on the CPU: a compiled graph that OpenVINO computes, one call in each of its streams at a time."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from inference.runtime import openvino
from utils.errors import RunError

# What one call computes at most: more frames fall out of the caches.
FRAMES_PER_CALL = 8
# OpenVINO's own choice is bfloat16 where the processor has it, so each is always named. What int8 leaves in floating
# point is float32.
HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


def settings(precision: str, streams: int, threads: int) -> dict[str, object]:
    """Return what the CPU is told: streams compute a call each, the threads are those of all streams together."""
    return {
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        "NUM_STREAMS": streams,
        "INFERENCE_NUM_THREADS": threads,
        # Processes that share the cores would all be bound to the same ones.
        "ENABLE_CPU_PINNING": False,
    }


class Engine:
    """A graph with one input and one output. Any thread may ask; the answer depends on its frames alone."""

    def __init__(self, compiled: openvino.CompiledModel, streams: int, content: np.ndarray | None = None):
        """content: of the file that the graph was read from, where it still lies in it."""
        self.ahead = streams
        self._own = threading.local()  # each thread's request
        # The threads know nothing of the engine: they end, and let go of the graph, when nobody has it any more.
        self._threads = ThreadPoolExecutor(streams, "network", _make_request, (compiled, self._own, content))

    def start(self, parts: list[np.ndarray]) -> Callable[[], list[np.ndarray]]:
        """Return a function that waits for the outputs, float32 [B, ...] each, for `parts`, uint8 [B, ...] each.

        At most FRAMES_PER_CALL frames in a part are fastest. The function raises RunError where OpenVINO fails, mostly
        for want of memory.
        """
        futures: list[Future[np.ndarray]] = [self._threads.submit(self._compute, part) for part in parts]

        def outputs() -> list[np.ndarray]:
            try:
                return [future.result() for future in futures]
            except RuntimeError as error:  # as OpenVINO's are, and those of threads that cannot be started
                raise RunError(f"the network cannot be computed: {str(error).strip().splitlines()[-1]}") from None

        return outputs

    def close(self) -> None:
        """Let go of the graph once what was asked is computed."""
        self._threads.shutdown()

    def _compute(self, frames: np.ndarray) -> np.ndarray:
        # Of the frames no copy is made. The output lies in the request's own memory, which the next call overwrites.
        return self._own.request.infer({0: frames}, share_inputs=True, share_outputs=True)[0].copy()


def _make_request(compiled: openvino.CompiledModel, own: threading.local, content: np.ndarray | None) -> None:
    own.request = compiled.create_infer_request()
    own.content = content  # as long as there is a request

"""OpenVINO, imported without its converter of other formats, and prepared for threads."""

import functools
import sys
import threading

import numpy as np

_CONVERTER = "openvino.tools.ovc"  # takes longer to import than the rest of OpenVINO

_hidden = sys.modules.setdefault(_CONVERTER, None) is None  # makes its import fail, which OpenVINO tolerates
try:
    import openvino
    from openvino import opset13
finally:
    if _hidden:
        del sys.modules[_CONVERTER]

__all__ = ["get_core", "openvino"]
_PREPARING = threading.Lock()


def get_core() -> openvino.Core:
    """Return the process's Core, which any thread may use."""
    with _PREPARING:
        return _prepared_core()


@functools.cache
def _prepared_core() -> openvino.Core:
    """Return a Core that has computed a graph of one operator, which takes 50 ms.

    At its first call OpenVINO's Python binding builds its tables of types. Two threads that do this at once deadlock:
    one holds Python's lock, the other the lock of the tables.
    """
    core = openvino.Core()
    numbers = opset13.parameter([-1], np.uint8)
    graph = openvino.Model([opset13.convert(numbers, "f32")], [numbers])
    request = core.compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}).create_infer_request()
    request.infer({0: np.zeros(1, np.uint8)}, share_inputs=True, share_outputs=True)[0].copy()
    return core

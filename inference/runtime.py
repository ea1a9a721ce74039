"""OpenVINO, imported without its converter of other formats, and made ready for threads."""

import functools
import sys
import threading

import numpy as np

_CONVERTER = "openvino.tools.ovc"  # takes longer to import than all the rest

_hidden = sys.modules.setdefault(_CONVERTER, None) is None  # importing it fails, which OpenVINO puts up with
try:
    import openvino
    from openvino import opset13
finally:
    if _hidden:
        del sys.modules[_CONVERTER]

__all__ = ["get_core", "openvino"]
_PREPARING = threading.Lock()


def get_core() -> openvino.Core:
    """Return the process's Core, with which any thread may work."""
    with _PREPARING:
        return _prepared_core()


@functools.cache
def _prepared_core() -> openvino.Core:
    """Return one that has computed a graph of one operator: 50 ms.

    At its first call OpenVINO's binding to Python makes its tables of types. Threads that find none there wait for each
    other for ever: one has Python's lock, the other that of the tables.
    """
    core = openvino.Core()
    numbers = opset13.parameter([-1], np.uint8)
    graph = openvino.Model([opset13.convert(numbers, "f32")], [numbers])
    request = core.compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}).create_infer_request()
    request.infer({0: np.zeros(1, np.uint8)}, share_inputs=True, share_outputs=True)[0].copy()
    return core

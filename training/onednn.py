"""Train with oneDNN's convolutions on the CPU.

Eager Paddle cannot use oneDNN, but a static graph can, for each operator. So each convolution of the model becomes a
graph with this single operator, forward and backward. Everything else stays eager, including the parameters: loop,
optimizer and checkpoints see the same model, and a run may resume in the other engine.
"""

from collections.abc import Callable

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor


def convolutions(model: paddle.nn.Layer) -> list[tuple[paddle.nn.Layer, Callable[[Tensor], Tensor]]]:
    """Return each NCHW convolution without bias, and a forward that computes it with oneDNN. Others are left alone."""
    graphs: dict[tuple, Callable[[list[Tensor]], Tensor]] = {}
    found = []
    for layer in model.sublayers(include_self=True):
        plain = isinstance(layer, paddle.nn.Conv2D) and layer.bias is None
        if plain and layer._padding_mode == "zeros" and layer._data_format == "NCHW":
            found.append((layer, _Convolution(layer, graphs)))
    return found


class _Convolution:
    """The forward of a Conv2D: float32 [N, C, H, W] -> [N, K, H', W'], any N, H and W."""

    def __init__(self, layer: paddle.nn.Conv2D, graphs: dict[tuple, Callable[[list[Tensor]], Tensor]]):
        """graphs: of the earlier layers; layers that differ only in their weights share one."""
        self._layer, self._graphs = layer, graphs
        self._geometry = (layer._stride, layer._updated_padding, layer._dilation, layer._groups)
        # No gradient is computed for a frozen weight.
        self._key = (layer.weight.stop_gradient, *layer.weight.shape, *map(str, self._geometry))

    def __call__(self, x: Tensor) -> Tensor:
        key = (x.stop_gradient, *self._key)  # the first layer's input needs no gradient, so none is computed
        if key not in self._graphs:
            self._graphs[key] = _graph(x, self._layer.weight, self._geometry)
        result = self._graphs[key]([x, self._layer.weight])
        # Forget each run at once, before and after its gradient is computed. As long as a run exists, Paddle keeps
        # oneDNN's copies of each operator's tensors, as large as all activations together. And a gradient cannot get
        # its tensors if its forward has run more than once.
        _forget()
        if not result.stop_gradient:
            result.register_hook(lambda gradient: _forget())
        return result


def _forget() -> None:
    paddle.base.core.clear_executor_cache()


def _graph(x: Tensor, weight: Tensor, geometry: tuple) -> Callable[[list[Tensor]], Tensor]:
    """Return the convolution as a graph of its own: a function of [x, weight], where the weight is an input."""
    from paddle.jit.dy2static.partial_program import PartialProgramLayerHook

    class UseOneDNN(PartialProgramLayerHook):
        def before_append_backward(self, program):
            for operator in program.global_block().ops:
                if operator.type == "conv2d":
                    operator._set_attr("use_mkldnn", True)  # its gradient inherits it
            return program

        def after_append_backward(self, program, start):
            return program, start

    stride, padding, dilation, groups = geometry

    @paddle.jit.not_to_static  # only traced, because it has no branches to rewrite
    def convolve(x, weight):
        return F.conv2d(x, weight, None, stride, padding, dilation, groups)

    specification = [
        # Unknown sizes fit all: an epoch's last batch, and validation's batches, need no graph of their own.
        paddle.static.InputSpec([None, x.shape[1], None, None], x.dtype, "x", stop_gradient=x.stop_gradient),
        paddle.static.InputSpec(weight.shape, weight.dtype, "weight", stop_gradient=weight.stop_gradient),
    ]
    static = paddle.jit.to_static(convolve, specification, full_graph=True)
    _, graph = static.get_concrete_program(x, weight)
    graph.set_hooker(UseOneDNN())
    return graph


def find_problem() -> str:
    """Return why this Paddle cannot use oneDNN, in a few words; "" if a small convolution with gradients works."""
    if paddle.framework.use_pir_api():
        return "paddle was imported before training.environment.set_environment was called"
    random = np.random.default_rng(0)
    layer = paddle.nn.Conv2D(3, 16, 3, stride=2, padding=1, bias_attr=False)
    layer.weight.set_value(random.normal(size=layer.weight.shape).astype("float32"))
    batches = [random.normal(size=(n, 3, 9, 9)).astype("float32") for n in (2, 1)]
    try:
        expected = [_outcome(layer, batch) for batch in batches]
        [(_, layer.forward)] = convolutions(layer)
        found = [_outcome(layer, batch) for batch in batches]
    except Exception as error:  # any error of a Paddle that lacks or changed these interfaces
        return f"{type(error).__name__}: {(str(error).strip() or 'without a word').splitlines()[-1]}"
    same = all(
        np.allclose(a, b, rtol=1e-3, atol=1e-3) for ours, theirs in zip(found, expected) for a, b in zip(ours, theirs)
    )
    return "" if same else "its results are wrong"


def _outcome(layer: paddle.nn.Conv2D, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (output, gradient of the input, gradient of the weight) of the sum of the output's squares."""
    x = paddle.to_tensor(batch, stop_gradient=False)
    result = layer(x)
    (result**2).sum().backward()
    gradients = x.grad.numpy(), layer.weight.grad.numpy()
    layer.clear_gradients()
    return result.numpy(), *gradients

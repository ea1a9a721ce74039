"""PP-TSMv2 in NumPy, driven by the names in PaddleVideo's files, and random weights under these names.

It shares no code with models/, which is compared with it.
"""

import numpy as np

from fluid_reference import _convolution
from weight_formats import narrow_shape

DEPTHS = (2, 2, 6, 2)
PARTS = ("weight", "bias", "_mean", "_variance")


def shapes(num_classes: int, narrow: bool = False) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array by its name in PaddleVideo's file. narrow: for the networks of narrow.py."""
    found: dict[str, tuple[int, ...]] = {}

    def unit(name: str, *shape: int) -> None:
        found[f"{name}.conv.weight"] = shape
        found.update({f"{name}.bn.{part}": shape[:1] for part in PARTS})

    unit("stem.0", 32, 3, 3, 3)
    unit("stem.1.dw_conv", 32, 1, 3, 3)
    unit("stem.1.pw_conv", 64, 32, 1, 1)
    channels = 64
    for stage, depth in enumerate(DEPTHS):
        for block in range(depth):
            name, out = f"stages.{stage}.{block}", 128 * 2**stage
            if stage < 2:
                unit(f"{name}.dw_conv", channels, 1, 3, 3)
            else:
                for number, size in enumerate((5, 3, 1) if block else (5, 3)):
                    unit(f"{name}.dw_conv_list.{number}", channels, 1, size, size)
                found |= {f"{name}.dw_conv.weight": (channels, 1, 5, 5), f"{name}.dw_conv.bias": (channels,)}
            if stage == 2:
                found |= {f"{name}.se.conv1.weight": (channels // 4, channels, 1, 1)}
                found |= {f"{name}.se.conv2.weight": (channels, channels // 4, 1, 1)}
                found |= {f"{name}.se.conv1.bias": (channels // 4,), f"{name}.se.conv2.bias": (channels,)}
                unit(f"{name}.pw_conv_1", out // 2, channels, 1, 1)
                unit(f"{name}.pw_conv_2", out, out // 2, 1, 1)
            else:
                unit(f"{name}.pw_conv", out, channels, 1, 1)
            channels = out
    found["last_conv.weight"] = (1280, 1024, 1, 1)
    if narrow:
        found = {name: narrow_shape(s) if len(s) == 4 else (s[0] // 8,) for name, s in found.items()}
    found |= {"fc.weight": (1280 // (8 if narrow else 1), num_classes), "fc.bias": (num_classes,)}
    return {f"backbone.{name}": shape for name, shape in found.items()}


def random_pptsm(num_classes: int, seed: int = 0, narrow: bool = False) -> dict[str, np.ndarray]:
    """Return float32 arrays of a whole network under PaddleVideo's names; activations stay of order 1."""
    random = np.random.default_rng(seed)
    state = {}
    for name, shape in shapes(num_classes, narrow).items():
        if name.endswith("_variance") or ".bn.weight" in name:
            array = random.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            array = random.normal(0, 0.2, shape)
        else:
            classifier = 0.4 if narrow else 0.01
            array = random.normal(0, (2 / np.prod(shape[1:])) ** 0.5 if len(shape) == 4 else classifier, shape)
        state[name] = array.astype("float32")
    return state


def pptsm_logits(state: dict[str, np.ndarray], frames: np.ndarray, share: int, direction: int = 1) -> np.ndarray:
    """Return logits float64 [N, K] of uint8 frames [N, T, H, W, 3].

    share: 1/share of the channels is shifted in each direction. direction: 1 as in PaddleVideo, whose first channels
    come from the previous frame, or -1.
    """
    arrays = {name.removeprefix("backbone."): array.astype("float64") for name, array in state.items()}

    def unit(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        weight = arrays[f"{name}.conv.weight"]
        y = _depthwise(x, weight, stride) if weight.shape[1] == 1 else _convolution(x, weight, stride)
        scale, offset, mean, variance = (arrays[f"{name}.bn.{part}"][:, None, None] for part in PARTS)
        return (y - mean) / np.sqrt(variance + 1e-5) * scale + offset

    n, t, height, width, _ = frames.shape
    x = frames.reshape(n * t, height, width, 3) / 255.0
    x = ((x - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(0, 3, 1, 2)
    x = _relu(unit(x, "stem.0", 2))
    x = _relu(unit(_relu(unit(x, "stem.1.dw_conv")), "stem.1.pw_conv"))
    for stage, depth in enumerate(DEPTHS):
        if stage == 2:
            x = _shifted(x, t, share, direction)
        for block in range(depth):
            name, stride, shortcut = f"stages.{stage}.{block}", 1 if block else 2, x
            if stage < 2:
                x = _relu(unit(x, f"{name}.dw_conv", stride))
            else:
                kernels = range(3 if stride == 1 else 2)
                x = _relu(sum(unit(x, f"{name}.dw_conv_list.{number}", stride) for number in kernels))
            if stage == 2:
                means = x.mean(axis=(2, 3), keepdims=True)
                hidden = _relu(_biased(means, arrays, f"{name}.se.conv1"))
                x = x / (1 + np.exp(-_biased(hidden, arrays, f"{name}.se.conv2")))
                x = _relu(unit(_relu(unit(x, f"{name}.pw_conv_1")), f"{name}.pw_conv_2"))
            else:
                x = _relu(unit(x, f"{name}.pw_conv"))
            if stage == 3 and block:
                x = x + shortcut
    x = _relu(_convolution(x.mean(axis=(2, 3), keepdims=True), arrays["last_conv.weight"], 1))[:, :, 0, 0] * 0.8
    return x.reshape(n, t, -1).mean(axis=1) @ arrays["fc.weight"] + arrays["fc.bias"]


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _biased(x: np.ndarray, arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    return _convolution(x, arrays[f"{name}.weight"], 1) + arrays[f"{name}.bias"][:, None, None]


def _depthwise(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """Convolve x [N, C, H, W] with weight [C, 1, k, k], padded by k // 2."""
    size, pad = weight.shape[-1], weight.shape[-1] // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,cij->nchw", windows, weight[:, 0])


def _shifted(x: np.ndarray, num_segments: int, share: int, direction: int) -> np.ndarray:
    clips = x.reshape(-1, num_segments, *x.shape[1:])
    result, first, second = clips.copy(), x.shape[1] // share, 2 * x.shape[1] // share
    for channels, step in ((slice(0, first), -direction), (slice(first, second), direction)):
        for t in range(num_segments):
            result[:, t, channels] = clips[:, t + step, channels] if 0 <= t + step < num_segments else 0
    return result.reshape(x.shape)

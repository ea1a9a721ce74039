"""The original's TSN in NumPy, driven by the original's variable names: what models/ is compared with."""

import numpy as np

from weight_formats import units


def _convolution(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """x [N, C, H, W] with weight [O, C, k, k], padded by k // 2."""
    size, pad = weight.shape[-1], weight.shape[-1] // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def _max_pool(x: np.ndarray) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))


def reference_logits(
    state: dict[str, np.ndarray],
    frames: np.ndarray,
    num_layers: int,
    mean: tuple[float, ...] = (0.485, 0.456, 0.406),
    std: tuple[float, ...] = (0.229, 0.224, 0.225),
) -> np.ndarray:
    """Logits [N, K] of uint8 frames [N, T, H, W, 3 * seglen], before the softmax."""

    def unit(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        norm = "bn_conv1" if name == "conv1" else "bn" + name.removeprefix("res")
        scale, offset, center, variance = (
            state[f"{norm}_{part}"].astype("float64")[:, None, None] for part in ("scale", "offset", "mean", "variance")
        )
        y = _convolution(x, state[f"{name}_weights"], stride)
        return (y - center) / np.sqrt(variance + 1e-5) * scale + offset

    n, t, height, width, channels = frames.shape
    x = frames.reshape(n * t, height, width, channels) / 255.0
    x = (x - np.tile(mean, channels // 3)) / np.tile(std, channels // 3)
    x = _max_pool(np.maximum(unit(x.transpose(0, 3, 1, 2), "conv1", 2), 0))
    blocks = list(dict.fromkeys((u.stage, u.block) for u in units(num_layers) if u.role != "stem"))
    for stage, block in blocks:
        letter = "abcdefgh"[block] if num_layers <= 50 or stage != 4 else ("a" if block == 0 else f"b{block}")
        name = f"res{stage}{letter}"
        stride = 2 if block == 0 and stage > 2 else 1
        shortcut = unit(x, f"{name}_branch1", stride) if f"{name}_branch1_weights" in state else x
        if num_layers >= 50:
            y = np.maximum(unit(x, f"{name}_branch2a"), 0)
            y = np.maximum(unit(y, f"{name}_branch2b", stride), 0)
            y = unit(y, f"{name}_branch2c")
        else:
            y = np.maximum(unit(x, f"{name}_branch2a", stride), 0)
            y = unit(y, f"{name}_branch2b")
        x = np.maximum(y + shortcut, 0)
    features = x.mean(axis=(2, 3)).reshape(n, t, -1).mean(axis=1)
    return features @ state["fc_0.w_0"] + state["fc_0.b_0"]

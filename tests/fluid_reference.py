"""The original's TSN in NumPy, and PP-TSN, TSM and PP-TSM, driven by the original's variable names.

It shares no code with models/, which is compared with it.
"""

import numpy as np

from weight_formats import units


def _convolution(x: np.ndarray, weight: np.ndarray, stride: int) -> np.ndarray:
    """Convolve x [N, C, H, W] with weight [O, C, k, k], padded by k // 2."""
    size, pad = weight.shape[-1], weight.shape[-1] // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.tensordot(windows, weight, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)


def _max_pool(x: np.ndarray) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))


def _average_pool(x: np.ndarray) -> np.ndarray:
    """Return the means of 2x2 pixels; at an odd end, of fewer pixels."""
    rows = np.add.reduceat(x, np.arange(0, x.shape[2], 2), axis=2)
    sums = np.add.reduceat(rows, np.arange(0, x.shape[3], 2), axis=3)
    rows = np.add.reduceat(np.ones_like(x), np.arange(0, x.shape[2], 2), axis=2)
    return sums / np.add.reduceat(rows, np.arange(0, x.shape[3], 2), axis=3)


def _shifted(x: np.ndarray, num_segments: int, first_from: int) -> np.ndarray:
    """Return x [N * T, C, H, W] whose first eighth comes from frame t + first_from, the second from t - first_from."""
    clips = x.reshape(-1, num_segments, *x.shape[1:])
    result, fold = clips.copy(), x.shape[1] // 8
    for channels, step in ((slice(0, fold), first_from), (slice(fold, 2 * fold), -first_from)):
        for t in range(num_segments):
            inside = 0 <= t + step < num_segments
            result[:, t, channels] = clips[:, t + step, channels] if inside else 0
    return result.reshape(x.shape)


def reference_logits(
    state: dict[str, np.ndarray],
    frames: np.ndarray,
    num_layers: int,
    mean: tuple[float, ...] = (0.485, 0.456, 0.406),
    std: tuple[float, ...] = (0.229, 0.224, 0.225),
    vd: bool = False,
    first_from: int = 0,
    slope: float = 0.0,
) -> np.ndarray:
    """Return logits [N, K] of uint8 frames [N, T, H, W, 3 * seglen], before the softmax.

    first_from: for a TSM, the frame that the first eighth of the channels comes from, 1 (the next) or -1 (the
    previous). slope: of the activation below 0.
    """

    def activation(x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, slope * x)

    def unit(x: np.ndarray, name: str, stride: int = 1) -> np.ndarray:
        norm = "bn_conv1" if name == "conv1" else "bn" + name[3:]
        scale, offset, center, variance = (
            state[f"{norm}_{part}"].astype("float64")[:, None, None] for part in ("scale", "offset", "mean", "variance")
        )
        y = _convolution(x, state[f"{name}_weights"], stride)
        return (y - center) / np.sqrt(variance + 1e-5) * scale + offset

    n, t, height, width, channels = frames.shape
    x = frames.reshape(n * t, height, width, channels) / 255.0
    x = (x - np.tile(mean, channels // 3)) / np.tile(std, channels // 3)
    x = x.transpose(0, 3, 1, 2)
    for name in ("conv1_1", "conv1_2", "conv1_3") if vd else ("conv1",):
        x = activation(unit(x, name, 2 if name in ("conv1", "conv1_1") else 1))
    x = _max_pool(x)
    blocks = list(dict.fromkeys((u.stage, u.block) for u in units(num_layers) if u.role != "stem"))
    for stage, block in blocks:
        letter = "abcdefgh"[block] if num_layers <= 50 or stage != 4 else ("a" if block == 0 else f"b{block}")
        name = f"res{stage}{letter}"
        stride = 2 if block == 0 and stage > 2 else 1
        shortcut = x
        if vd and stride == 2:
            shortcut = unit(_average_pool(x), f"{name}_branch1")
        elif f"{name}_branch1_weights" in state:
            shortcut = unit(x, f"{name}_branch1", stride)
        if first_from:
            x = _shifted(x, t, first_from)
        if num_layers >= 50:
            y = activation(unit(x, f"{name}_branch2a"))
            y = activation(unit(y, f"{name}_branch2b", stride))
            y = unit(y, f"{name}_branch2c")
        else:
            y = activation(unit(x, f"{name}_branch2a", stride))
            y = unit(y, f"{name}_branch2b")
        x = activation(y + shortcut)
    features = x.mean(axis=(2, 3)).reshape(n, t, -1).mean(axis=1)
    return features @ state["fc_0.w_0"] + state["fc_0.b_0"]

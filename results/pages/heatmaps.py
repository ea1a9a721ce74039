"""Show where in its frames a network sees a class: class activation maps, Zhou et al., https://arxiv.org/abs/1512.04150.

The maps are exact here. A logit is linear in the mean of the last feature maps: it is the mean of these maps over all
places and segments, weighted with the classifier's row of the class, plus the bias.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.packages import import_cv2
from utils.storage.files import write_atomic

if TYPE_CHECKING:
    import paddle

cv2 = import_cv2("a heat map")
# A network whose frames are independent computes this many at a time.
_FRAMES_AT_ONCE = 32
# Smaller pictures are enlarged to this side.
_SMALLEST_SIDE = 224
_SHARE = 0.5  # opacity of the colours in the overlay


def activation_maps(model: "paddle.nn.Layer", frames: np.ndarray, class_id: int) -> np.ndarray:
    """Return float32 [T, h, w] for a view's frames, uint8 [T, H, W, C]; mean plus bias is the class's logit.

    model: in evaluation mode, with `feature_maps`.
    """
    import paddle  # the model has imported it already; overlays do not need it

    from models.transfer import wait_for_gpu

    size = len(frames) if model.shifts else _FRAMES_AT_ONCE
    weight = model.fc.weight[:, class_id]  # [F]
    maps = []
    with paddle.no_grad():
        for start in range(0, len(frames), size):
            wait_for_gpu()  # the copy would wait too, but would block the other threads
            features = model.feature_maps(paddle.to_tensor(frames[None, start : start + size]))[0]  # [T, F, h, w]
            found = (features * weight.reshape([1, -1, 1, 1])).sum(axis=1)
            wait_for_gpu()
            maps.append(found.numpy())
    return np.concatenate(maps)


def likeliest(model: "paddle.nn.Layer", frames: np.ndarray) -> int:
    """Return the class id with the highest logit for a view, uint8 [T, H, W, C]. model: in evaluation mode."""
    import paddle

    from models.transfer import wait_for_gpu

    with paddle.no_grad():
        logits = model(paddle.to_tensor(frames[None]))
        wait_for_gpu()
        return int(logits.argmax())


def overlays(frames: np.ndarray, maps: np.ndarray) -> list[np.ndarray]:
    """Return uint8 [S, S, 3] for each frame, uint8 [T, H, W, 3] RGB, with its map, float32 [T, h, w], in colours.

    Colours go from dark, where nothing speaks for the class, to yellow, at the strongest place of all segments.
    """
    strongest = max(float(maps.max()), 1e-12)
    return [_overlay(frame, np.clip(map_ / strongest, 0, 1)) for frame, map_ in zip(frames, maps)]


def write_png(path: Path, image: np.ndarray) -> None:
    """Write uint8 [H, W, 3] RGB. Raises RunError if it cannot be written."""
    data = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    write_atomic(path, lambda temporary: temporary.write_bytes(data))


def _overlay(frame: np.ndarray, share: np.ndarray) -> np.ndarray:
    factor = max(1, -(-_SMALLEST_SIDE // frame.shape[0]))
    large = frame.repeat(factor, axis=0).repeat(factor, axis=1)
    smooth = cv2.resize(share.astype(np.float32), large.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    colours = cv2.applyColorMap((255 * smooth).round().astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    return ((1 - _SHARE) * large + _SHARE * colours).round().astype(np.uint8)

"""From frames to crops in uint8, bit-identical to the original and its peers: resize the whole frame, then crop it."""

import numpy as np
from PIL import Image

from reader.clip import ClipSpec
from utils.packages import import_cv2

# Sides of a multi-scale crop, as shares of the frame's short side; width and height are equal or neighbours here.
_SCALES = (1, 0.875, 0.75, 0.66)
# Positions of a crop, in quarters of the spare pixels, from the left and from the top: corners and centre, ...
_PLACES = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2)]
# ... and, if there are 13, the middles of the sides and the quarter points.
_MORE_PLACES = [(0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]


def resized_size(
    width: int, height: int, short_side: int, keep_aspect_ratio: bool = False, resize: str = "pillow"
) -> tuple[int, int]:
    """Return (width, height) in pixels after the resize, before the crop.

    The original makes the short side `short_side` and the long side int(short_side * 4 / 3), whatever the aspect ratio
    (a square counts as landscape). It leaves a frame alone if its short side already fits.
    With `keep_aspect_ratio` the long side keeps its proportion, rounded to the nearest pixel. With resize "opencv" the
    peers' rule applies: both sides are multiplied by the same number, and halves are rounded up.
    """
    if min(width, height) == short_side:
        return width, height
    if not keep_aspect_ratio:
        long_side = int(short_side * 4 / 3)
    elif resize == "opencv":
        long_side = int(max(width, height) * (short_side / min(width, height)) + 0.5)
    else:
        long_side = max(short_side, round(max(width, height) * short_side / min(width, height)))
    return (short_side, long_side) if width < height else (long_side, short_side)


def crop_offset(width: int, height: int, crop_size: int, rng: np.random.Generator | None = None) -> tuple[int, int]:
    """Return (left, top) of the crop in pixels: random with `rng`, else central, rounded half to even (58.5: 58)."""
    spare_x, spare_y = width - crop_size, height - crop_size
    if rng is not None:
        return int(rng.integers(0, spare_x, endpoint=True)), int(rng.integers(0, spare_y, endpoint=True))
    return int(round(spare_x / 2)), int(round(spare_y / 2))


def crop_offsets(
    width: int, height: int, crop_size: int, crops: int = 1, resize: str = "pillow"
) -> list[tuple[int, int]]:
    """Return (left, top) in pixels of each crop in a test, in the peers' order.

    1: the centre. 3 (ThreeCrop of mmaction2, UniformCrop of PaddleVideo): start, end and middle. 10 (TenCrop of both):
    upper left, upper right, lower left, lower right, centre; the mirrors of these five make ten. The spare pixels are
    divided as integers, so the outer crops can be up to 3 pixels away from the edge.
    """
    spare_x, spare_y = width - crop_size, height - crop_size
    if crops == 1:
        return [(spare_x // 2, spare_y // 2) if resize == "opencv" else crop_offset(width, height, crop_size)]
    if crops == 3:
        step_x, step_y = spare_x // 2, spare_y // 2
        return [(0, 0), (2 * step_x, 2 * step_y), (step_x, step_y)]
    return [(i * (spare_x // 4), j * (spare_y // 4)) for i, j in _PLACES]


def multi_scale_window(
    width: int, height: int, crop_size: int, places: int, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) in pixels of a random part of a frame: MultiScaleCrop of mmaction2.

    places: 5 or 13, the number of positions, which are equally probable. So are the 10 pairs of width and height. A
    side within 2 pixels of crop_size becomes crop_size.
    """
    sides = [int(min(width, height) * scale) for scale in _SCALES]
    sides = [crop_size if abs(side - crop_size) < 3 else side for side in sides]
    pairs = [(w, h) for i, h in enumerate(sides) for j, w in enumerate(sides) if abs(i - j) <= 1]
    w, h = pairs[rng.integers(len(pairs))]
    i, j = (_PLACES + _MORE_PLACES)[rng.integers(places)]
    return i * ((width - w) // 4), j * ((height - h) // 4), w, h


def crop_frame(frame: np.ndarray, spec: ClipSpec, rng: np.random.Generator | None = None) -> np.ndarray:
    """Return the crops, uint8 [P, crop_size, crop_size, 3], of a frame uint8 [H, W, 3], one for each place.

    With `rng` (training) there is one random crop, or one as `multi_scale_crop` says: all frames of a video must get a
    generator in the same state.
    The whole frame is resized, once. To resize the crop's window alone would take 60% of the time, but rounds
    differently: values that now and then differ by 1 moved a probability by up to 0.016.
    """
    height, width = frame.shape[:2]
    side = spec.crop_size
    size = resized_size(width, height, spec.short_side, spec.keep_aspect_ratio, spec.resize)
    frame = _resized(frame, size, spec.resize)
    if rng is None:
        places = crop_offsets(*size, side, spec.crops, spec.resize)
        return np.stack([frame[top : top + side, left : left + side] for left, top in places])
    if spec.multi_scale_crop == "none":
        left, top = crop_offset(*size, side, rng)
        crop = frame[top : top + side, left : left + side]
    else:
        left, top, w, h = multi_scale_window(*size, side, spec.multi_scale_crop, rng)
        crop = _resized(frame[top : top + h, left : left + w], (side, side), spec.resize)
    return crop[None].copy()


def _resized(frame: np.ndarray, size: tuple[int, int], how: str) -> np.ndarray:
    """Return the frame in `size` (width, height) in pixels, bilinear.

    To shrink a frame, Pillow averages all source pixels, OpenCV only two by two.
    """
    if size == (frame.shape[1], frame.shape[0]):
        return frame
    if how == "pillow":
        return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR))
    cv2 = import_cv2("resize: opencv")  # takes 0.1 s
    cv2.setNumThreads(1)  # every core has a reader process
    try:
        return cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    except cv2.error as error:
        raise MemoryError from error  # nothing else can go wrong with uint8 frames

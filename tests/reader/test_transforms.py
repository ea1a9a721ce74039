"""Crops are the original's, bit for bit: Pillow's resize of the whole frame, then Pillow's crop."""

import numpy as np
import pytest
from PIL import Image

from conftest import picture
from crops import crop_frame
from reader.transforms import crop_offset, resized_size


def resize_then_crop(frame: np.ndarray, size: tuple[int, int], left: int, top: int, crop: int) -> np.ndarray:
    """Return the crop in the original's two steps."""
    image = Image.fromarray(frame)
    if image.size != size:
        image = image.resize(size, Image.BILINEAR)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


# width, height of the frame; width, height after the resize to a short side of 256; left, top of the crop of 224
CASES = {
    "landscape": (340, 240, 341, 256, 58, 16),  # (341 - 224) / 2 = 58.5: to the even neighbour
    "the short side fits": (340, 256, 340, 256, 58, 16),
    "the short side fits, portrait": (256, 400, 256, 400, 16, 88),
    "portrait": (240, 340, 256, 341, 16, 58),
    "square": (300, 300, 341, 256, 58, 16),
    "square that fits": (256, 256, 256, 256, 16, 16),
    "wide": (640, 270, 341, 256, 58, 16),
    "720p": (1280, 720, 341, 256, 58, 16),
    "small": (176, 144, 341, 256, 58, 16),
    "odd": (321, 243, 341, 256, 58, 16),
    "narrow": (90, 400, 256, 341, 16, 58),
    "one side already as wanted": (341, 480, 256, 341, 16, 58),
    "1080p, portrait": (1080, 1920, 256, 341, 16, 58),
    "a pixel": (1, 1, 341, 256, 58, 16),
    "a line": (500, 1, 341, 256, 58, 16),
}


@pytest.mark.parametrize("width, height, new_width, new_height, left, top", CASES.values(), ids=CASES)
def test_central_crop(width, height, new_width, new_height, left, top):
    assert resized_size(width, height, 256) == (new_width, new_height)
    assert crop_offset(new_width, new_height, 224) == (left, top)
    frame = picture(width, height)
    ours = crop_frame(frame, 256, 224)
    assert ours.shape == (1, 224, 224, 3) and ours.dtype == np.uint8
    assert np.array_equal(ours[0], resize_then_crop(frame, (new_width, new_height), left, top, 224))


@pytest.mark.parametrize("keep_aspect_ratio", [False, True], ids=["4:3", "shape kept"])
@pytest.mark.parametrize("seed", range(25))
def test_any_size(seed, keep_aspect_ratio):
    """Frames smaller and larger than the crop, portrait and landscape, odd and even; central and random crops."""
    random = np.random.default_rng(seed)
    width, height = (int(side) for side in np.exp(random.uniform(np.log(8), np.log(700), 2)))
    crop = int(random.integers(1, 225))
    short_side = crop + int(random.integers(0, 100))
    size = resized_size(width, height, short_side, keep_aspect_ratio)
    frame = picture(width, height, seed)
    ours = crop_frame(frame, short_side, crop, keep_aspect_ratio=keep_aspect_ratio)[0]
    assert np.array_equal(ours, resize_then_crop(frame, size, *crop_offset(*size, crop), crop))

    rng = np.random.default_rng(seed)
    ours = crop_frame(frame, short_side, crop, keep_aspect_ratio=keep_aspect_ratio, rng=rng)[0]
    rng = np.random.default_rng(seed)
    theirs = resize_then_crop(frame, size, *crop_offset(*size, crop, rng), crop)
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    "width, height, short_side, expected",
    [
        (320, 240, 256, (341, 256)),
        (640, 360, 256, (455, 256)),
        (360, 640, 256, (256, 455)),
        (300, 300, 256, (256, 256)),
        (256, 999, 256, (256, 999)),
        (1001, 1000, 100, (100, 100)),
    ],
)
def test_keep_aspect_ratio(width, height, short_side, expected):
    assert resized_size(width, height, short_side, keep_aspect_ratio=True) == expected
    frame = picture(width, height)
    ours = crop_frame(frame, short_side, 64, keep_aspect_ratio=True)[0]
    left, top = crop_offset(*expected, 64)
    assert np.array_equal(ours, resize_then_crop(frame, expected, left, top, 64))


@pytest.mark.parametrize("side, short_side", [(300, 64), (29, 7), (123, 7)])
def test_the_whole_resized_frame_can_be_the_crop(side, short_side):
    frame = picture(side, side)
    ours = crop_frame(frame, short_side, short_side, keep_aspect_ratio=True)[0]
    assert np.array_equal(ours, resize_then_crop(frame, (short_side, short_side), 0, 0, short_side))


@pytest.mark.parametrize("short_side, long_side", [(224, 298), (256, 341), (320, 426), (36, 48), (1, 1)])
def test_the_long_side_is_cut_off_not_rounded(short_side, long_side):
    assert resized_size(1000, 500, short_side) == (long_side, short_side)
    assert resized_size(500, 1000, short_side) == (short_side, long_side)


@pytest.mark.parametrize("width, height", [(340, 240), (341, 256), (240, 340)])
def test_training_takes_one_window_for_all_frames(width, height):
    frames = np.stack([picture(width, height, seed) for seed in range(3)])
    size = resized_size(width, height, 256)
    windows = set()
    for seed in range(12):
        ours = [crop_frame(frame, 256, 224, rng=np.random.default_rng(seed))[0] for frame in frames]
        rng = np.random.default_rng(seed)
        left, top = crop_offset(*size, 224, rng)
        for frame, crop in zip(frames, ours):
            assert np.array_equal(crop, resize_then_crop(frame, size, left, top, 224))
        windows.add((left, top))
    assert len(windows) > 6


def test_random_windows_reach_every_edge():
    rng = np.random.default_rng(0)
    lefts, tops = zip(*(crop_offset(10, 8, 6, rng) for _ in range(300)))
    assert set(lefts) == set(range(5)) and set(tops) == set(range(3))


@pytest.mark.parametrize("width", [340, 256])  # 256: the crop is the whole frame
def test_the_result_is_a_writable_array_of_its_own(width):
    frame = np.zeros((256, width, 3), np.uint8)
    crops = crop_frame(frame, 256, 256)
    crops[:] = 1
    assert crops.flags.c_contiguous and not frame.any()


def test_frames_may_be_views_turned_and_mirrored():
    frame = picture(90, 120)
    turned = frame.swapaxes(0, 1)[::-1]  # as videos on their side are shown: 120 x 90
    theirs = resize_then_crop(np.ascontiguousarray(turned), (96, 72), 16, 4, 64)
    assert np.array_equal(crop_frame(turned, 72, 64)[0], theirs)

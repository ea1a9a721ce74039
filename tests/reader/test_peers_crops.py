"""The peers' resize and crops, bit for bit, compared with their formulas in OpenCV and NumPy."""

import sys
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from conftest import make_clip, picture
from crops import crop_frame
from reader.dataset import ClipSpec, VideoError, read_clip
from reader.transforms import crop_offsets, multi_scale_window, resized_size
from reader.workers import WorkerProcess

SIZES = [
    (340, 256), (320, 240), (640, 360), (1280, 720), (240, 320), (256, 455), (300, 300), (256, 256), (641, 333),
    (333, 641), (177, 143), (90, 401), (100, 74),
]  # fmt: skip


def peers_resize(frame: np.ndarray, short_side: int) -> np.ndarray:
    """Return the frame as mmaction2's Resize((-1, short_side)) and PaddleVideo's Scale (do_round, cv2) resize it."""
    factor = short_side / min(frame.shape[:2])
    height, width = (int(side * float(factor) + 0.5) for side in frame.shape[:2])
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)


def cut(frame: np.ndarray, left: int, top: int, side: int) -> np.ndarray:
    return frame[top : top + side, left : left + side]


def center_crop(frame: np.ndarray, side: int) -> list[np.ndarray]:
    height, width = frame.shape[:2]
    return [cut(frame, (width - side) // 2, (height - side) // 2, side)]


def three_crop(frame: np.ndarray, side: int) -> list[np.ndarray]:
    height, width = frame.shape[:2]
    assert side in (height, width)
    step = (max(height, width) - side) // 2
    starts = [0, 2 * step, step]
    return [cut(frame, start, 0, side) if height == side else cut(frame, 0, start, side) for start in starts]


def ten_crop(frame: np.ndarray, side: int) -> list[np.ndarray]:
    height, width = frame.shape[:2]
    x, y = (width - side) // 4, (height - side) // 4
    crops = []
    for left, top in ((0, 0), (4 * x, 0), (0, 4 * y), (4 * x, 4 * y), (2 * x, 2 * y)):
        crops += [cut(frame, left, top, side), np.flip(cut(frame, left, top, side), axis=1)]
    return crops


@pytest.mark.parametrize("width, height", SIZES)
def test_opencv(width, height):
    frame = picture(width, height)
    theirs = peers_resize(frame, 256)
    assert resized_size(width, height, 256, True, "opencv") == theirs.shape[1::-1]
    ours = crop_frame(frame, 256, 224, keep_aspect_ratio=True, resize="opencv")
    assert np.array_equal(ours, center_crop(theirs, 224))
    ours = crop_frame(frame, 256, 224, keep_aspect_ratio=True, resize="opencv", crops=10)
    assert np.array_equal(ours, ten_crop(theirs, 224)[::2])
    ours = crop_frame(frame, 256, 256, keep_aspect_ratio=True, resize="opencv", crops=3)
    assert np.array_equal(ours, three_crop(theirs, 256))


@pytest.mark.parametrize("seed", range(20))
def test_opencv_of_any_size(seed):
    random = np.random.default_rng(seed)
    width, height = (int(side) for side in np.exp(random.uniform(np.log(30), np.log(900), 2)))
    short_side = int(random.integers(20, 120))
    crop = int(random.integers(5, short_side + 1))
    frame = picture(width, height, seed)
    theirs = peers_resize(frame, short_side)
    how = {"keep_aspect_ratio": True, "resize": "opencv"}
    assert np.array_equal(crop_frame(frame, short_side, crop, **how), center_crop(theirs, crop))
    assert np.array_equal(crop_frame(frame, short_side, crop, crops=10, **how), ten_crop(theirs, crop)[::2])
    assert np.array_equal(crop_frame(frame, short_side, short_side, crops=3, **how), three_crop(theirs, short_side))


def test_opencv_takes_frames_turned_and_mirrored():
    frame = picture(90, 120)
    turned = frame.swapaxes(0, 1)[::-1]
    ours = crop_frame(turned, 72, 64, keep_aspect_ratio=True, resize="opencv")
    assert np.array_equal(ours, center_crop(peers_resize(np.ascontiguousarray(turned), 72), 64))


def test_opencv_into_4_3():
    """The result equals PaddleVideo's Scale with fixed_ratio and cv2."""
    frame = picture(640, 360)
    theirs = cv2.resize(frame, (341, 256), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(crop_frame(frame, 256, 224, resize="opencv"), center_crop(theirs, 224))


@pytest.mark.parametrize(
    "width, height, side, crops, expected",
    [
        (341, 256, 224, 10, [(0, 0), (116, 0), (0, 32), (116, 32), (58, 16)]),
        (256, 455, 224, 10, [(0, 0), (32, 0), (0, 228), (32, 228), (16, 114)]),
        (227, 231, 224, 10, [(0, 0), (0, 0), (0, 4), (0, 4), (0, 2)]),
        (455, 256, 256, 3, [(0, 0), (198, 0), (99, 0)]),
        (256, 341, 256, 3, [(0, 0), (0, 84), (0, 42)]),
        (256, 256, 256, 3, [(0, 0)] * 3),
        (341, 256, 224, 1, [(58, 16)]),
        (343, 256, 224, 1, [(60, 16)]),  # 59.5, to the even neighbour
    ],
)
def test_places(width, height, side, crops, expected):
    assert crop_offsets(width, height, side, crops) == expected


def test_opencv_rounds_the_centre_down():
    assert crop_offsets(343, 257, 224, 1, "opencv") == [(59, 16)]


def test_pillow_has_crops_too():
    frame = picture(320, 240)
    theirs = np.asarray(Image.fromarray(frame).resize((341, 256), Image.BILINEAR))
    assert np.array_equal(crop_frame(frame, 256, 224, crops=10), ten_crop(theirs, 224)[::2])
    assert np.array_equal(crop_frame(frame, 256, 256, crops=3), three_crop(theirs, 256))


# --- a whole clip ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> tuple[str, np.ndarray]:
    path = tmp_path_factory.mktemp("views") / "v.mp4"
    frames = np.stack([picture(74, 100, seed) for seed in range(9)])
    make_clip(path, frames)
    return str(path), frames


@pytest.mark.parametrize("seglen", [1, 2])
@pytest.mark.parametrize("crops, side, peers", [(1, 32, center_crop), (3, 40, three_crop), (10, 32, ten_crop)])
def test_all_frames_of_a_crop_come_before_the_next_crop(clip, crops, side, peers, seglen):
    path, frames = clip
    how = {"sampling": "uniform", "resize": "opencv", "keep_aspect_ratio": True, "crops": crops}
    spec = ClipSpec(3, seglen, 40, side, **how)
    ours, _ = read_clip(spec, path)
    assert ours.shape == spec.shape == (crops * 3, side, side, 3 * seglen)
    chosen = [[1, 2], [4, 5], [7, 8]]
    views = [
        np.concatenate([peers(peers_resize(frames[n], 40), side)[v] for n in segment[:seglen]], axis=2)
        for v in range(crops)
        for segment in chosen
    ]
    assert np.array_equal(ours, views)


def test_a_frame_is_decoded_and_resized_once(clip, monkeypatch):
    resized = []
    monkeypatch.setattr(cv2, "resize", lambda frame, size, resize=cv2.resize, **how: (
        resized.append(size), resize(frame, size, **how))[1])  # fmt: skip
    read_clip(ClipSpec(4, 1, 40, 32, resize="opencv", keep_aspect_ratio=True, crops=10), clip[0])
    assert len(resized) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="a reader's memory is limited on Linux")
@pytest.mark.parametrize("resize", ["pillow", "opencv"])
def test_a_frame_too_long_to_be_resized_is_unreadable(tmp_path, resize):
    make_clip(tmp_path / "v.mp4", np.zeros((2, 400, 2, 3), np.uint8))
    spec = ClipSpec(1, 1, 8192, 32, resize=resize, keep_aspect_ratio=True)  # of 8192 x 1638400: 40 GB
    process = WorkerProcess(spec)
    try:
        with pytest.raises(VideoError, match="it takes more memory than there is"):
            process.answer(str(tmp_path / "v.mp4"), 0, 0)
    finally:
        process.kill()


# --- multi-scale crops of training -------------------------------------------------------------------------------


QUARTERS = [(0, 0), (4, 0), (0, 4), (4, 4), (2, 2), (0, 2), (4, 2), (2, 4), (2, 0), (1, 1), (3, 1), (1, 3), (3, 3)]


@pytest.mark.parametrize(
    "width, height, sides",
    [
        (340, 256, [256, 224, 192, 168]),
        (256, 340, [256, 224, 192, 168]),
        (258, 300, [258, 224, 193, 170]),  # 225.75: within 2 pixels of 224
        (224, 226, [224, 196, 168, 147]),
        (229, 300, [229, 200, 171, 151]),
    ],
)
@pytest.mark.parametrize("places", [5, 13])
def test_multi_scale_windows(width, height, sides, places):
    """Every pair of sizes and every place are equally frequent."""
    pairs = [(w, h) for i, w in enumerate(sides) for j, h in enumerate(sides) if abs(i - j) < 2]
    expected = Counter()
    for w, h in pairs:
        x, y = (width - w) // 4, (height - h) // 4
        for i, j in QUARTERS[:places]:
            expected[i * x, j * y, w, h] += 1
    rng = np.random.default_rng(0)
    draws = 200 * len(pairs) * places
    seen = Counter(multi_scale_window(width, height, 224, places, rng) for _ in range(draws))
    assert seen.keys() == expected.keys()
    assert all(abs(seen[window] / 200 - times) < 0.3 * times for window, times in expected.items())


@pytest.mark.parametrize("resize", ["opencv", "pillow"])
@pytest.mark.parametrize("places", [5, 13])
def test_multi_scale_crops(resize, places):
    frame = picture(90, 70)
    how = {"keep_aspect_ratio": True, "resize": resize, "multi_scale_crop": places}
    for seed in range(30):
        ours = crop_frame(frame, 70, 56, **how, rng=np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        left, top, w, h = multi_scale_window(90, 70, 56, places, rng)
        window = frame[top : top + h, left : left + w]
        if resize == "opencv":
            theirs = cv2.resize(window, (56, 56), interpolation=cv2.INTER_LINEAR)
        else:
            theirs = np.asarray(Image.fromarray(window).resize((56, 56), Image.BILINEAR))
        assert np.array_equal(ours, theirs[None])


def test_multi_scale_crops_are_a_function_of_seed_epoch_and_index_and_one_for_all_frames(tmp_path):
    make_clip(tmp_path / "v.mp4", np.stack([picture(90, 70)] * 6))

    def read(seed: int, epoch: int, index: int) -> bytes:
        spec = ClipSpec(3, 1, 70, 56, multi_scale_crop=13, augment_seed=seed)
        clip, _ = read_clip(spec, str(tmp_path / "v.mp4"), epoch, index)
        assert np.array_equal(clip, np.stack([clip[0]] * 3))
        return clip.tobytes()

    keys = [(seed, epoch, index) for seed in (1, 2) for epoch in (0, 1) for index in (0, 1)]
    assert len({read(*key) for key in keys}) == len(keys)
    assert read(1, 1, 1) == read(1, 1, 1)

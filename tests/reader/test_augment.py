"""RandAugment and random erasing: what each operation does to pixels, in all frames of a clip alike."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reader.augment import OPERATIONS, draw_changes
from reader.clip import ClipSpec
from reader.dataset import read_clip

SPEC = ClipSpec(4, 1, 40, 32, augment_seed=3)
# Grey values of a picture of one row and four columns.
ROW = [10, 100, 150, 250]


@pytest.mark.parametrize(("name", "amount", "expected"), [
    ("identity", 1.0, ROW), ("autocontrast", 1.0, [0, 95, 148, 255]), ("equalize", 1.0, ROW),
    ("solarize", 0.0, ROW), ("solarize", 0.5, [10, 100, 105, 5]), ("solarize", -1.0, [245, 155, 105, 5]),
    ("posterize", 0.0, ROW), ("posterize", 1.0, [0, 96, 144, 240]), ("posterize", -0.5, [8, 100, 148, 248]),
    ("brightness", 0.0, ROW), ("brightness", 1.0, [19, 190, 255, 255]), ("brightness", -1.0, [1, 10, 15, 25]),
    ("contrast", -1.0, [116, 125, 130, 140]), ("color", 1.0, ROW),
    # a quarter of the width at 331 / 600
    ("translate_x", 331 / 600, [100, 150, 250, 128]), ("translate_x", -331 / 600, [128, 10, 100, 150]),
    ("translate_y", 331 / 600, ROW), ("rotate", 0.0, ROW), ("shear_x", 0.0, ROW),
])  # fmt: skip
def test_operations(name, amount, expected):
    image = Image.fromarray(np.repeat(np.array([ROW], np.uint8)[:, :, None], 3, axis=2))
    if name == "translate_y":  # the row as a column moves by as much
        image, name, expected = image.transpose(Image.Transpose.ROTATE_270), "translate_y", [100, 150, 250, 128]
    changed = np.asarray(OPERATIONS[name](image, amount))
    assert changed.reshape(-1, 3)[:, 0].tolist() == expected


@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "sharpness"])
def test_operations_turn_around_the_centre_and_have_two_sides(name):
    picture = np.full((33, 33, 3), 20, np.uint8)
    picture[14:19, 14:19] = 220
    one, other = (np.asarray(OPERATIONS[name](Image.fromarray(picture), amount)).astype(int) for amount in (1.0, -1.0))
    assert one[16, 16, 0] == other[16, 16, 0] == 220 and (one != picture).any() and (one != other).any()


def test_all_frames_of_a_clip_are_changed_in_the_same_way_by_seed_epoch_and_index(workspace):
    path = str(workspace.videos[0][0])
    spec = replace(SPEC, random_erasing=1.0)
    plain, erased = read_clip(SPEC, path, 1, 2)[0], read_clip(spec, path, 1, 2)[0]
    rows, columns = (np.flatnonzero((plain != erased).any(axis=axes)) for axes in ((0, 2, 3), (0, 1, 3)))
    box = erased[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert (box == box[0]).all() and 0.02 < box[0, :, :, 0].size / 32**2 < 0.36 and box.std() > 60
    both = replace(spec, rand_augment=2)
    drawn = [draw_changes(replace(both, augment_seed=seed), epoch, index)(plain[0]).tobytes()
             for seed, epoch, index in ((3, 1, 2), (4, 1, 2), (3, 2, 2), (3, 1, 3), (3, 1, 2))]  # fmt: skip
    assert len(set(drawn)) == 4 and drawn[0] == drawn[-1]
    assert np.array_equal(read_clip(both, path, 1, 2)[0], np.stack([draw_changes(both, 1, 2)(crop) for crop in plain]))
    centre = replace(both, augment_seed=None)  # what is validated
    assert np.array_equal(read_clip(centre, path)[0], read_clip(replace(SPEC, augment_seed=None), path)[0])


def test_what_is_drawn(monkeypatch):
    """Operations and their directions are equally frequent, and boxes as frequent as their probability."""
    seen = Counter()
    for name in OPERATIONS:
        monkeypatch.setitem(OPERATIONS, name, lambda image, amount, name=name: seen.update([(name, amount)]) or image)
    spec = replace(SPEC, rand_augment=3, rand_augment_magnitude=4.0, random_erasing=0.25)
    crop = np.zeros((32, 32, 3), np.uint8)
    erased = sum(draw_changes(spec, 0, index)(crop).any() for index in range(1000))
    assert 200 < erased < 300
    assert {amount for _, amount in seen} == {-0.4, 0.4} and seen.total() == 3000
    assert len(seen) == 2 * len(OPERATIONS) and all(70 < number < 150 for number in seen.values())

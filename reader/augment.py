"""RandAugment and random erasing: random changes in training, the same for all crops of a clip.

Pillow is already a requirement of the readers; torchvision, albumentations and imgaug would bring packages larger than
all others here.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from reader.clip import ClipSpec

GREY = (128, 128, 128)  # fills the gap where a picture is moved or turned
MOST = 10  # the TRAIN.rand_augment_magnitude of the largest change
_STREAM = 0xA6  # keeps these random draws apart from those of frames, crops and mirrors


def _moved(image: Image.Image, *how: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, how, Image.Resampling.BILINEAR, fillcolor=GREY)


def _enhanced(kind: type) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, amount: kind(image).enhance(1 + 0.9 * amount)


# The fourteen operations of Cubuk et al., https://arxiv.org/abs/1909.13719, with torchvision's largest changes. Each
# takes an image and an amount from -1 to 1; the sign is the direction. Operations without direction ignore the sign.
OPERATIONS: dict[str, Callable[[Image.Image, float], Image.Image]] = {
    "identity": lambda image, amount: image,
    "autocontrast": lambda image, amount: ImageOps.autocontrast(image),
    "equalize": lambda image, amount: ImageOps.equalize(image),
    "rotate": lambda image, amount: image.rotate(30 * amount, Image.Resampling.BILINEAR, fillcolor=GREY),
    "solarize": lambda image, amount: ImageOps.solarize(image, round(256 * (1 - abs(amount)))),
    "posterize": lambda image, amount: ImageOps.posterize(image, 8 - round(4 * abs(amount))),
    "color": _enhanced(ImageEnhance.Color),
    "contrast": _enhanced(ImageEnhance.Contrast),
    "brightness": _enhanced(ImageEnhance.Brightness),
    "sharpness": _enhanced(ImageEnhance.Sharpness),
    "shear_x": lambda image, amount: _moved(image, 1, 0.3 * amount, -0.15 * amount * image.height, 0, 1, 0),
    "shear_y": lambda image, amount: _moved(image, 1, 0, 0, 0.3 * amount, 1, -0.15 * amount * image.width),
    "translate_x": lambda image, amount: _moved(image, 1, 0, 150 / 331 * amount * image.width, 0, 1, 0),
    "translate_y": lambda image, amount: _moved(image, 1, 0, 0, 0, 1, 150 / 331 * amount * image.height),
}


def draw_changes(spec: ClipSpec, epoch: int, index: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the change that training makes to each crop uint8 [H, W, 3] of a clip; (seed, epoch, index) determine it.

    RandAugment: `rand_augment` operations, drawn with equal probability, applied in turn. Random erasing, with its
    probability: a box of noise, the same in all frames (Zhong et al., https://arxiv.org/abs/1708.04896).
    """
    rng = np.random.default_rng([spec.augment_seed, epoch, index, _STREAM])
    names = rng.choice(list(OPERATIONS), spec.rand_augment)
    amounts = rng.choice((-1, 1), spec.rand_augment) * (spec.rand_augment_magnitude / MOST)
    noise = _draw_box(spec.crop_size, rng) if rng.random() < spec.random_erasing else None

    def change(crop: np.ndarray) -> np.ndarray:
        image = Image.fromarray(np.ascontiguousarray(crop))
        for name, amount in zip(names, amounts):
            image = OPERATIONS[name](image, float(amount))
        crop = np.array(image)
        if noise is not None:
            (top, left), box = noise
            crop[top : top + len(box), left : left + box.shape[1]] = box
        return crop

    return change


def _draw_box(side: int, rng: np.random.Generator) -> tuple[tuple[int, int], np.ndarray]:
    """Return ((top, left), noise uint8 [h, w, 3]): a box of 2% to 1/3 of the area, sides up to 1 to 3.3, as in timm."""
    while True:
        area, ratio = rng.uniform(0.02, 1 / 3) * side * side, math.exp(rng.uniform(math.log(0.3), -math.log(0.3)))
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < height <= side and 0 < width <= side:
            corner = int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1))
            return corner, rng.integers(0, 256, (height, width, 3), np.uint8)

"""Draw classes on a video's frames, in a text box that is readable on any picture."""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# The text's height as a share of the frame's, and its minimum in pixels.
_SHARE, _SMALLEST = 1 / 24, 11
# Pillow's own font has only ASCII. For other letters these system fonts are tried in order.
_OTHER_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf", "arial.ttf", "msyh.ttc", "PingFang.ttc",
)  # fmt: skip
_BOX, _BAR, _TEXT, _OPACITY = (12, 16, 22), (30, 96, 145), (255, 255, 255), 0.78


class Caption:
    """A box with predictions, for frames of one size."""

    def __init__(self, predictions: Sequence[dict], width: int, height: int):
        """predictions: {"class_id", "label", "probability"}, best first; as many are drawn as there is room for.

        width, height: the frames' size.
        """
        size = max(_SMALLEST, round(height * _SHARE))
        line, margin = round(size * 1.55), max(2, round(size * 0.4))
        lines = max(1, min(len(predictions), (height - 2 * margin) // line))
        texts = [(f"{100 * p['probability']:.0f}%", *_drawable(p, size), p["probability"]) for p in predictions[:lines]]
        number = max(font_of(size).getlength("100%"), 1) + size * 0.8
        room = width - 2 * margin - number - size * 0.6
        texts = [(percent, _shortened(text, font, room), font, share) for percent, text, font, share in texts]
        inner = round(number + max(font.getlength(text) for _, text, font, _ in texts) + size * 0.6)
        box = Image.new("RGB", (min(inner, width), min(lines * line + margin, height)), _BOX)
        draw = ImageDraw.Draw(box)
        for row, (percent, text, font, share) in enumerate(texts):
            top = row * line + margin // 2
            draw.rectangle((0, top + 1, round(share * box.width), top + line - 2), fill=_BAR)
            middle = top + line / 2
            draw.text((number - size * 0.4, middle), percent, fill=_TEXT, font=font_of(size), anchor="rm")
            draw.text((number, middle), text, fill=_TEXT, font=font, anchor="lm")
        self._box = np.asarray(box)
        self._left, self._top = margin, max(0, height - box.height - margin)

    def put(self, frame: np.ndarray) -> None:
        """Draw the box on a frame uint8 [H, W, 3], in place."""
        height, width = self._box.shape[:2]
        region = frame[self._top : self._top + height, self._left : self._left + width]
        box = self._box[: region.shape[0], : region.shape[1]]
        # Letters are opaque; the background lets the picture show through.
        opacity = np.maximum(_OPACITY, box.min(axis=2, keepdims=True) / 255)
        region[:] = region + (box - region.astype(np.float32)) * opacity


@cache
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's own font, so that nothing has to be installed or shipped."""
    return ImageFont.load_default(size)


def _drawable(prediction: dict, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return a class's name and a font that has its letters.

    If no font has them, the name loses its accents, or is replaced by the class id.
    """
    label = prediction["label"]
    for font in _fonts(size):
        if _has_letters(font, label):
            return label, font
    plain = unicodedata.normalize("NFKD", label).encode("ascii", "ignore").decode()
    letters = sum(letter.isalpha() for letter in label)
    if letters and sum(letter.isalpha() for letter in plain) == letters:
        return plain, font_of(size)
    return f"class {prediction['class_id']}", font_of(size)


def _fonts(size: int) -> Iterator[ImageFont.FreeTypeFont]:
    yield font_of(size)
    for name in _OTHER_FONTS:
        if (font := _system_font(name, size)) is not None:
            yield font


@cache
def _system_font(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except OSError:
        return None


def _has_letters(font: ImageFont.FreeTypeFont, text: str) -> bool:
    nothing = bytes(font.getmask("\U0010fffe"))  # the font's picture for a missing letter
    return not any(bytes(font.getmask(letter)) == nothing for letter in set(text) if not letter.isspace())


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """Return the text, shortened with dots to at most `room` pixels."""
    if font.getlength(text) <= room:
        return text
    while len(text) > 1 and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."

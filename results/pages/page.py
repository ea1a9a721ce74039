"""Make a page from a template: one self-contained file in which outside text is always escaped."""

import base64
import functools
import hashlib
import io
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from utils import cli
from utils.errors import RunError
from utils.log import say
from utils.storage.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

# Takes positions; gives (position, frames uint8 [T, H, W, 3]) for the videos that can still be read.
Frames = Callable[[Sequence[int]], Iterable[tuple[int, np.ndarray]]]

_TEMPLATES = Path(__file__).with_name("templates")
_STYLES = ("style.css", "video.css", "videos.css")
# In order: the other scripts use the shared ones, and the last one starts them.
_SHARED = ("language.js", "saving.js")
_SCRIPTS = ("tables.js", "timeline.js", "charts.js", "videos.js", "thresholds.js", "page.js")
# Longer paths and labels are shortened to this many characters.
_LONGEST = 160
# The longer side of a picture in pixels, and its JPEG quality.
_SIDE, _QUALITY = 160, 80


def write_page(path: Path, template: str, **values: object) -> None:
    """Write the template `template` with these values.

    The same values give the same page, except for time and command, which have the class "made".
    Raises RunError if it cannot be written.
    """
    from markupsafe import Markup

    style = "".join(_read(name) for name in _STYLES)
    # Each other script is a block of its own, so that names do not collide.
    script = "".join([*map(_read, _SHARED), *(f"{{\n{_read(name)}}}\n" for name in _SCRIPTS)])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = (
        _pages()
        .get_template(template)
        .render(
            style=Markup(style),
            script=Markup(script),
            script_digest=digest,
            made_at=time.strftime("%Y-%m-%d %H:%M"),
            command=_command() if cli.is_running else "",
            **values,
        )
    )
    write_text(path, html)


def _command() -> str:
    """Return the command line, without user names and passwords in addresses."""
    return re.sub(r"//[^/@\s]+@", "//…@", f"python {shlex.join(sys.argv)}")


def _read(name: str) -> str:
    return (_TEMPLATES / name).read_text("utf-8")


def prepare_page(template: str) -> threading.Thread:
    """Return a thread that compiles the template, which takes a quarter of a second, while there is time to spare."""

    def prepare() -> None:
        for name in ("base.html", "macros.html", template):
            _pages().get_template(name)

    thread = threading.Thread(target=prepare, daemon=True)
    thread.start()
    return thread


@functools.cache
def _pages() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    from results.pages.timeline import lasting, minutes
    from results.pages.words import both, both_in, fact, in_english, shown

    def printed(value: object) -> object:
        return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    pages = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "short": shorten,
        "number": number,
        "minutes": minutes,
        "lasting": lasting,
        # Allow line breaks in class names; the browser's search still finds the whole name.
        "name": lambda text: Markup(escape(shown(text)).replace("_", Markup("_<wbr>"))),
        "in_english": in_english,
        "quoted": lambda path: shlex.quote(str(path)),
    }
    pages.globals |= {"both": both, "both_in": both_in, "fact": fact}
    return pages


def never_fatal(write: Callable[..., None]) -> Callable[..., None]:
    """Wrap `write`, whose first argument is the page's path, so that it reports errors in one line.

    A run must not fail because of its page.
    """

    @functools.wraps(write)
    def attempt(path: Path, *arguments: object, **values: object) -> None:
        try:
            write(path, *arguments, **values)
        except RunError as error:
            say(f"no report: {error}")
        except Exception as error:  # any defect
            say(f"no report: {path}: {type(error).__name__}: {' '.join(str(error).split())}")

    return attempt


def shorten(text: str, length: int = _LONGEST) -> str:
    """Return the text, cut in the middle to `length` characters: both ends of a path are informative."""
    return text if len(text) <= length else f"{text[: length // 3]} … {text[len(text) - length + length // 3 + 3 :]}"


def number(value: float | None, digits: int = 1) -> str:
    """Return a number as `12,345.6`, or a dash for None."""
    return "–" if value is None or value != value else f"{value:,.{digits}f}"


def address_of(path: str | Path, beside: Path) -> str:
    """Return a link to a file, relative to the folder `beside`."""
    return quote(os.fsencode(os.path.relpath(path, beside)))


def picture(frame: np.ndarray) -> str:
    """Return a frame, uint8 [H, W, 3], as the data address of a JPEG, reduced to the size that a page needs."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def pictures_of(frames: Frames, positions: Sequence[int]) -> dict[int, list[str]]:
    """Return the pictures of the videos at `positions`, by position, for those that can still be read."""
    return {position: [picture(frame) for frame in clip] for position, clip in frames(positions)}

"""A page from its template: one file that needs nothing beside it, in which no text from outside is markup."""

import base64
import functools
import hashlib
import io
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.errors import RunError
from utils.log import say
from utils.storage.files import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

# (position, frames uint8 [T, H, W, 3]) of the videos at some positions, those that can still be read.
Frames = Callable[[Sequence[int]], Iterable[tuple[int, np.ndarray]]]

_TEMPLATES = Path(__file__).with_name("templates")
# What a page shows of a long path or label, in characters.
_LONGEST = 160
# Of a picture on a page: its longer side in pixels, and JPEG's quality.
_SIDE, _QUALITY = 160, 80


def write_page(path: Path, template: str, **values: object) -> None:
    """Write report/templates/`template` with these values: of the same values the same bytes, at any time.

    Raise RunError when it cannot be written.
    """
    from markupsafe import Markup

    style, script = ((_TEMPLATES / name).read_text("utf-8") for name in ("style.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = (
        _pages()
        .get_template(template)
        .render(style=Markup(style), script=Markup(script), script_digest=digest, **values)
    )
    write_text(path, html)


def prepare_page(template: str) -> threading.Thread:
    """Return a thread that compiles the template, for when there is time to spare: it takes a quarter of a second."""

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
        # Where a class's name may be broken; it is still found by its whole name.
        "name": lambda text: Markup(escape(shown(text)).replace("_", Markup("_<wbr>"))),
    }
    return pages


def never_fatal(write: Callable[..., None]) -> Callable[..., None]:
    """`write`, which makes the page at its first argument, but says in one line what goes wrong in it and returns.

    No page is worth the run that it is about.
    """

    @functools.wraps(write)
    def attempt(path: Path, *arguments: object, **values: object) -> None:
        try:
            write(path, *arguments, **values)
        except RunError as error:
            say(f"no report: {error}")
        except Exception as error:  # what nobody thought of
            say(f"no report: {path}: {type(error).__name__}: {' '.join(str(error).split())}")

    return attempt


def shown(text: str) -> str:
    """The text as UTF-8 can hold it: bytes of a path that are none come out as escapes, as on the screen."""
    return text.encode("utf-8", "backslashreplace").decode()


def shorten(text: str, length: int = _LONGEST) -> str:
    """The text, cut in its middle to `length` characters: of a path both ends tell something."""
    return text if len(text) <= length else f"{text[: length // 3]} … {text[len(text) - length + length // 3 + 3 :]}"


def number(value: float | None, digits: int = 1) -> str:
    """`12,345.6`; a dash where there is no number."""
    return "–" if value is None or value != value else f"{value:,.{digits}f}"


def picture(frame: np.ndarray) -> str:
    """The data: address of a JPEG of `frame`, uint8 [H, W, 3], made smaller where it is larger than a page needs."""
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(frame))
    image.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def pictures_of(frames: Frames, positions: Sequence[int]) -> dict[int, list[str]]:
    """The pictures of the videos at `positions`, by position; without those that cannot be read any more."""
    return {position: [picture(frame) for frame in clip] for position, clip in frames(positions)}

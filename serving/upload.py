"""The body of a request, a form with one video, as a file: as it comes, within limits of size and time."""

import asyncio
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from serving.limits import BODY_SECONDS, LINGER_SECONDS, PIECE_SECONDS, SLOWEST, Refusal

FIELD = "video"
_AT_ONCE = 1 << 20  # bytes that are written at a time
_LONGEST_NAME = 255  # of a file, in characters
_NO_FIELD = f"the form has no field `{FIELD}` with a file"


class Room:
    """Bytes that all uploads together may take on the disk."""

    def __init__(self, size: int):
        self._free = size

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """A function that takes so many bytes or, where fewer are left, raises Refusal; leaving gives them back."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            if size > self._free:
                raise Refusal(503, "the server has no room for another upload at the moment")
            self._free -= size
            taken += size

        try:
            yield take
        finally:
            self._free += taken


@asynccontextmanager
async def uploaded(request: Request, folder: Path, max_bytes: int, room: Room) -> AsyncIterator[tuple[Path, str]]:
    """A context with the file, gone afterwards whatever happens, and the name that the client gives it.

    Raises Refusal where it does not come, is too large or too slow, or the form holds something else.
    """
    path = folder / uuid.uuid4().hex
    with room.share() as take:
        try:
            yield path, await _receive(request, path, max_bytes, take)
        finally:
            path.unlink(missing_ok=True)


async def _receive(request: Request, path: Path, max_bytes: int, take: Callable[[int], None]) -> str:
    form = _Form(request.headers.get("content-type", ""))
    if (length := request.headers.get("content-length", "")).isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)
    received, buffer = 0, bytearray()
    try:
        with open(path, "xb") as file:
            async for piece in pieces(request):
                received += len(piece)
                if received > max_bytes:
                    raise _too_large(max_bytes)
                take(len(piece))
                buffer += form.parse(piece)
                if len(buffer) >= _AT_ONCE:
                    await asyncio.to_thread(file.write, bytes(buffer))
                    buffer.clear()
            name = form.end()
            await asyncio.to_thread(file.write, bytes(buffer))
    except OSError as error:
        raise Refusal(503, f"the server cannot keep the upload: {error.strerror}") from None
    return name


async def pieces(request: Request) -> AsyncIterator[bytes]:
    """The body as it comes. Raises Refusal where it stops or is too slow."""
    clock = asyncio.get_running_loop().time
    start, received, more = clock(), 0, True
    while more:
        left = start + min(BODY_SECONDS, PIECE_SECONDS + received / SLOWEST) - clock()
        try:
            async with asyncio.timeout(min(PIECE_SECONDS, left)):
                message = await request.receive()
        except TimeoutError:
            raise Refusal(408, "the upload is too slow") from None
        if message["type"] == "http.disconnect":
            raise Refusal(400, "the upload ended early")
        received += len(message.get("body", b""))
        more = message.get("more_body", False)
        yield message.get("body", b"")


async def linger(request: Request, max_bytes: int) -> None:
    """Takes in what a refused client still sends, for a moment."""
    if "expect" in request.headers:  # it sends nothing before it is asked to
        return
    received = 0
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            async for piece in pieces(request):
                received += len(piece)
                if received > max_bytes:
                    return
    except (TimeoutError, Refusal):
        return


class _Form:
    """A form whose field `video` is passed on, while other fields are passed over."""

    def __init__(self, content_type: str):
        """Raises Refusal where the type is not that of a form with files."""
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Refusal(415, f"expected a form, multipart/form-data, with a file in its field `{FIELD}`")
        names = ("part_begin", "part_data", "header_field", "header_value", "header_end", "headers_finished", "end")
        callbacks = {f"on_{name}": getattr(self, f"_{name}") for name in names}
        try:
            self._parser = MultipartParser(options[b"boundary"], callbacks)
        except FormParserError:
            raise Refusal(400, "the boundary of the form is too long") from None
        self._content, self._ended = bytearray(), False
        self._name: str | None = None
        self._current = False  # whether the part is the video

    def parse(self, data: bytes) -> bytes:
        """What of the data belongs to the video. Raises Refusal where this is no form."""
        self._content.clear()
        try:
            self._parser.write(data)
        except FormParserError:
            raise Refusal(400, "the form is damaged") from None
        return bytes(self._content)

    def end(self) -> str:
        """The name of the file. Raises Refusal where the form is not whole or lacks it."""
        if not self._ended:
            raise Refusal(400, "the upload ended early")
        if self._name is None:
            raise Refusal(400, _NO_FIELD)
        return self._name

    def _part_begin(self) -> None:
        self._current, self._disposition = False, b""
        self._header, self._value = bytearray(), bytearray()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header, self._value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        if options.get(b"name") != FIELD.encode():
            return
        if self._name is not None:
            raise Refusal(400, f"the form has more than one field `{FIELD}`")
        self._current, self._name = True, _file_name(options.get(b"filename", b""))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current:
            self._content += data[start:end]

    def _end(self) -> None:
        self._ended = True


def _file_name(given: bytes) -> str:
    """The last part of a path, as text without control characters; "video" where there is none."""
    name = re.split(r"[/\\]", given.decode("utf-8", "replace"))[-1]
    return "".join(c if c.isprintable() else " " for c in name).strip()[:_LONGEST_NAME] or FIELD


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(413, f"the upload is larger than {max_bytes // 10**6} MB")

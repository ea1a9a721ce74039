"""An upload as a file: within limits of size, and gone whatever happens."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from serving.body import Body
from serving.form import Form
from serving.limits import Refusal

_AT_ONCE = 1 << 20  # bytes that are written at a time


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
async def uploaded(body: Body, folder: Path, max_bytes: int, room: Room) -> AsyncIterator[tuple[Path, str]]:
    """A context with the file, gone afterwards whatever happens, and the name that the client gives it.

    Raises Refusal where it does not come, is too large or too slow, or the form holds something else.
    """
    path = folder / uuid.uuid4().hex
    with room.share() as take:
        try:
            yield path, await _receive(body, path, max_bytes, take)
        finally:
            path.unlink(missing_ok=True)


async def _receive(body: Body, path: Path, max_bytes: int, take: Callable[[int], None]) -> str:
    form = Form(body.headers.get("content-type", ""))
    if (length := body.headers.get("content-length", "")).isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)
    received, buffer = 0, bytearray()
    try:
        with open(path, "xb") as file:
            async for piece in body.pieces():
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


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(413, f"the upload is larger than {max_bytes // 10**6} MB")

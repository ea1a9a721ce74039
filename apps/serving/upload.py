"""Store an upload as a file, within size limits, and always remove it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from io import FileIO
from pathlib import Path

from apps.serving.body import Body
from apps.serving.form import Form
from apps.serving.quotas import PARSED_AT_ONCE, Refusal
from utils.storage.copies import claimed_folder
from utils.storage.files import write_all

_AT_ONCE = 1 << 20  # bytes per write


class Folder:
    """The folder for uploads of this process. A context manager; leaving it removes the folder and its contents."""

    def __init__(self):
        self._claim = ExitStack()
        self._path: Path | None = None

    def __enter__(self) -> "Folder":
        self._make()
        return self

    def __exit__(self, *_) -> None:
        self._claim.close()

    def create(self) -> tuple[Path, FileIO]:
        """Return a new unbuffered file and its path. Raises OSError.

        The folder is made again if a cleaner of temporary files has removed it.
        """
        name = uuid.uuid4().hex
        try:
            return self._path / name, open(self._path / name, "xb", buffering=0)
        except FileNotFoundError:
            self._claim.close()
            self._make()
            return self._path / name, open(self._path / name, "xb", buffering=0)

    def _make(self) -> None:
        self._path = self._claim.enter_context(claimed_folder())


class Room:
    """The bytes that all uploads together may use on the disk."""

    def __init__(self, size: int):
        self._free = size

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that takes bytes, or raises Refusal if too few are left. On leaving, they are returned."""
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
async def uploaded(body: Body, folder: Folder, max_bytes: int, room: Room) -> AsyncIterator[tuple[Path, str]]:
    """Open a context with the file, which is always removed afterwards, and the client's name for it.

    Raises Refusal if it does not arrive, is too large or too slow, or the form holds something else.
    """
    form = Form(body.headers.get("content-type", ""))
    if (length := body.headers.get("content-length", "")).isdecimal() and int(length) > max_bytes:
        raise _too_large(max_bytes)
    with room.share() as take:
        path = None
        try:
            with _stored():
                path, file = folder.create()
            with file:
                name = await _receive(body, form, file, max_bytes, take)
            yield path, name
        finally:
            if path is not None:
                path.unlink(missing_ok=True)


async def _receive(body: Body, form: Form, file: FileIO, max_bytes: int, take: Callable[[int], None]) -> str:
    received, buffer = 0, bytearray()
    async for piece in body.pieces():
        received += len(piece)
        if received > max_bytes:
            raise _too_large(max_bytes)
        take(len(piece))
        for start in range(0, len(piece), PARSED_AT_ONCE):
            buffer += form.parse(piece[start : start + PARSED_AT_ONCE])
            await asyncio.sleep(0)  # some forms take long to parse; let other requests run
        if len(buffer) >= _AT_ONCE:
            await _write(file, buffer)
    name = form.end()
    await _write(file, buffer)
    return name


async def _write(file: FileIO, buffer: bytearray) -> None:
    with _stored():
        await asyncio.to_thread(write_all, file, bytes(buffer))
    buffer.clear()


@contextmanager
def _stored() -> Iterator[None]:
    """Open a context whose OSErrors mean that the server cannot store an upload."""
    try:
        yield
    except OSError as error:
        raise Refusal(503, f"the server cannot store the upload: {error.strerror}") from None


def _too_large(max_bytes: int) -> Refusal:
    return Refusal(413, f"the upload is larger than {max_bytes // 10**6} MB")

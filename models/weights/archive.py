"""Read a stranger's tar archive: only plain files, only inside the folder, and a limited number of bytes."""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from utils.errors import FormatError

# Trained float32 weights hardly compress (to 0.9); an archive that grows by more than this has no weights.
MAX_GROWTH = 10
_ALLOWANCE = 1 << 20  # bytes: tar pads small archives
MAX_MEMBERS = 10_000  # ten times the variables of a ResNet-152


class _Limited:
    """A stream that refuses to return more than `limit` bytes, even if a header declares more."""

    def __init__(self, stream: IO[bytes], limit: int):
        self.stream = stream
        self.left = limit

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise FormatError(f"it grows to more than {MAX_GROWTH} times its size when unpacked")
        return data


def is_archive(path: Path) -> bool:
    """Return whether the file starts like a gzip or tar file."""
    with open(path, "rb") as file:
        start = file.read(263)
    return start[:2] == b"\x1f\x8b" or start[257:262] == b"ustar"


def archive_members(path: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield (path inside the archive, content) of every plain file in a .tar or .tar.gz, in its order.

    Raises FormatError for a member that leaves the archive's folder, for a link or a device, for more bytes than
    MAX_GROWTH allows, and for damage; OSError if the file cannot be read.
    """
    limit = _ALLOWANCE + MAX_GROWTH * os.path.getsize(path)
    with open(path, "rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = _Limited(gzip.GzipFile(fileobj=file) if compressed else file, limit)
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:  # read in one pass, from front to end
                for count, member in enumerate(archive):
                    if count >= MAX_MEMBERS:
                        raise FormatError(f"it has more than {MAX_MEMBERS} members")
                    if _checked(member, limit):
                        yield PurePosixPath(member.name), archive.extractfile(member).read()
        except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError, RecursionError) as error:
            raise FormatError(f"a damaged archive: {error}") from error


def _checked(member: tarfile.TarInfo, limit: int) -> bool:
    """Return whether the member is a file, not a folder. Raises FormatError for members that are not safe."""
    name = member.name
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(character in name for character in "\\:\0"):
        raise FormatError(f"its member {name[:80]!r} leaves the folder; the file is not to be trusted")
    if member.isdir():
        return False
    if not member.isreg() or member.issparse():
        raise FormatError(f"its member {name[:80]!r} is a link or a device; the file is not to be trusted")
    if member.size > limit:
        raise FormatError(f"its member {name[:80]!r} declares {member.size} bytes, far more than the archive has")
    return True


def extract(path: Path, folder: Path) -> None:
    """Write the archive's files into the existing `folder`. Raises FormatError, OSError."""
    for member, data in archive_members(path):
        target = folder / member
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with open(target, "xb") as file:
                file.write(data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise FormatError(f"its member {str(member)[:80]!r} is there twice") from error

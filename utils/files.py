"""Files that are whole or not there, folders that are known to be writable before work begins, and the cache folder.

A remote save_dir has a local folder in its place until a script has ended its work: nothing can be appended to a file
in object storage. It lies in the cache folder under the path's digest, so that the same command finds there what it
had written when it was killed.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from utils.errors import InputError, RunError
from utils.storage import StorageError, check_writable, extended, is_remote, upload

CACHE_VARIABLE = "PADDLE_TSN_CACHE"


@contextmanager
def writing(path: str | os.PathLike) -> Iterator[None]:
    """A context whose OSError becomes the RunError that `path` cannot be written."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None


def write_atomic(path: str | os.PathLike, write: Callable[[Path], None]) -> None:
    """Calls `write` on a temporary path beside `path`, flushes what it wrote to the disk and renames it.

    Raises:
        RunError: the disk is full, or the folder is gone; what stood at `path` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with writing(path):
            write(temporary)
            with open(temporary, "r+b") as file:
                os.fsync(file.fileno())
            rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(folder: Path, names: str) -> Iterator[Path]:
    """What `write_atomic` has left of files of the folder where its process was killed; names: a regular expression."""
    for path in folder.glob(".*.tmp"):
        if re.fullmatch(rf"\.({names})\.\d+\.tmp", path.name):
            yield path


def rename(path: Path, target: Path) -> None:
    """Gives the file another name in its folder, for good. Raises OSError."""
    os.replace(path, target)
    flush_folder(target.parent)  # else a power cut could undo the renaming, but not what is deleted after it


def flush_folder(folder: Path) -> None:
    """Returns when the names of the folder's files are on the disk. Raises OSError."""
    if os.name != "nt":  # Windows cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_stream(path: str | os.PathLike, write: Callable[[TextIO], object]) -> None:
    """Calls `write` on a text file, with `write_atomic`: UTF-8, and bytes of a path that are not stay as they are."""

    def write_file(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            write(file)

    write_atomic(path, write_file)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text with `write_stream`."""
    write_stream(path, lambda file: file.write(text))


def cache_folder() -> Path | None:
    """Where what took time to make or to fetch is kept for the next run; None: nowhere."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return None if named == "off" else Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "paddle-tsn"


def needed_cache_folder(path: str) -> Path:
    """The cache folder, which the remote `path` cannot do without. Raises InputError where there is none."""
    if (root := cache_folder()) is None:
        raise InputError(f"{path}: needs a folder on this machine meanwhile, but {CACHE_VARIABLE} is off")
    return root


def check_save_dir(path: str) -> None:
    """Raises InputError unless files can be created in the folder, or in its nearest parent. Creates nothing there.

    Of a remote folder an empty object may remain, which marks it.
    """
    folder = written_to(path)
    if is_remote(path):
        try:
            check_writable(path)
        except StorageError as error:
            raise InputError(f"--save_dir={path}: cannot be written: {error.strerror}") from None
    try:
        os.lstat(folder)
    except (FileNotFoundError, NotADirectoryError):
        pass  # to be made, if a parent allows it
    except OSError as error:
        raise InputError(f"--save_dir={path}: cannot be written: {error.strerror}") from None
    # os.path: the methods of Path raise where a parent may not be searched.
    while not os.path.exists(folder) and folder != folder.parent:
        if os.path.islink(folder):
            raise InputError(f"--save_dir={path}: {folder} is a link to nowhere")
        folder = folder.parent
    if not os.path.isdir(folder):
        raise InputError(f"--save_dir={path}: {folder} is not a folder")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"--save_dir={path}: {folder} cannot be written: {error.strerror}") from None


def written_to(path: str) -> Path:
    """The folder that a script writes to, as `make_save_dir` has it; it need not be there."""
    if not is_remote(path):
        return Path(path)
    digest = hashlib.sha256(os.fsencode(extended(path, ""))).hexdigest()
    return needed_cache_folder(path) / "save_dirs" / digest[:32]


def make_save_dir(path: str) -> Path:
    """The folder to write to, created if need be; of a remote save_dir the local one in its place."""
    folder = written_to(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"{folder} cannot" if is_remote(path) else "cannot"
        raise InputError(f"--save_dir={path}: {what} be created: {error.strerror}") from None
    return folder


def publish(folder: Path, path: str, clear: bool = True) -> str:
    """Where the files of a script that has ended its work are; `folder` is what `make_save_dir(path)` gave.

    The files of a remote save_dir are uploaded, .jsonl the last, and the local folder is removed, if `clear`. Hidden
    files and those called *.partial* are not part of it.

    Raises RunError where that fails: the same command goes on from the local folder.
    """
    if not is_remote(path):
        return str(folder)
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    files = [file for file in files if not file.name.startswith(".") and ".partial" not in file.name]
    for file in sorted(files, key=lambda file: file.suffix == ".jsonl"):
        url = extended(path, f"/{file.relative_to(folder).as_posix()}")
        try:
            upload(file, url)
        except StorageError as error:
            raise RunError(
                f"{url}: cannot be written: {error.strerror}; what it should hold is kept in {folder}, from where "
                "the same command goes on"
            ) from None
    if clear:
        shutil.rmtree(folder, ignore_errors=True)
    return path


def check_local(name: str, path: str) -> None:
    """Raises InputError for a remote path, given as `name`, where the work needs a folder on this machine."""
    if is_remote(path):
        raise InputError(f"{name}={path}: checkpoints are written to and read from local folders alone")

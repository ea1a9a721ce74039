"""Files that are whole or not there, and folders that are known to be writable before work begins."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from utils.errors import InputError, RunError


def write_atomic(path: str | os.PathLike, write: Callable[[Path], None]) -> None:
    """Calls `write` on a temporary path beside `path`, flushes what it wrote to the disk and renames it.

    Raises:
        RunError: the disk is full, or the folder is gone; what stood at `path` is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with open(temporary, "r+b") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    # Else a power cut could undo the renaming, but not what is deleted after it.
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


def check_save_dir(path: str) -> None:
    """Raises InputError unless files can be created in the folder, or in its nearest parent. Creates nothing."""
    folder = Path(path)
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


def make_save_dir(path: str) -> Path:
    """The folder, created if need be."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--save_dir={path}: cannot be created: {error.strerror}") from None
    return Path(path)

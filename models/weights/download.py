"""Published weights in ~/.paddle/weights: downloaded once, resumed after an interruption, checked, whole or absent."""

import contextlib
import hashlib
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from models.weights.archive import extract
from models.weights.receiving import DownloadStopped, is_secure, receive, validator_of
from utils.config.published import published_weights
from utils.errors import FormatError, InputError, os_errors
from utils.log import say
from utils.storage.files import writing
from utils.storage.lock import hold
from utils.storage.shelf import digest

# The address of the original's weights since 2019.
BASE_URL = "https://paddlemodels.bj.bcebos.com/video_classification/"


def published_tsn() -> Path:
    """Return the path of the original's TSN, trained on Kinetics-400. Raises InputError, RunError."""
    otherwise = "give the weights by --weights=PATH"
    return fetch(BASE_URL + "TSN.pdparams", _weights_folder(otherwise) / "TSN.pdparams", otherwise)


def imagenet_resnet50(otherwise: str) -> Path:
    """Return the path of the original's ImageNet ResNet-50, unpacked.

    otherwise: see `fetch`. Raises InputError, RunError.
    """
    target = _weights_folder(otherwise) / "ResNet50_pretrained"
    if target.is_dir():
        return target
    archive = target.with_name("ResNet50_pretrained.tar.gz")
    fetch(BASE_URL + archive.name, archive, otherwise)
    with _locked(target):
        if not target.is_dir():
            _unpack(archive, target)
    return target


def fetch_weights(url: str, sha256: str, max_bytes: int, otherwise: str) -> Path:
    """Return the path of the file at an address, downloaded to ~/.paddle/weights.

    Its SHA-256 begins with `sha256` and is the same as after the download. otherwise: see `fetch`. Raises RunError, and
    InputError, also if the file does not contain weights or has more than `max_bytes` bytes.
    """
    target = fetch(url, place_of(url), otherwise, sha256, max_bytes)
    note = target.with_name(target.name + ".sha256")
    try:
        found = digest(target)
        noted = note.read_text(encoding="utf-8").split() if note.exists() else []
        if not found.startswith(sha256) or (noted and noted[0] != found):
            expected = noted[0][:8] if found.startswith(sha256) else sha256
            raise InputError(
                f"{target}: its SHA-256 begins with {found[:8]}, not with {expected}: it is damaged, or another file; "
                f"delete it and {note.name} to have it downloaded again"
            )
        if not noted:
            with contextlib.suppress(OSError):  # a shared folder may be read-only
                note.write_text(f"{found}  {target.name}\n", encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{target}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return target


def place_of(url: str) -> Path:
    """Return where the file at an address is kept: under its name if it is published, else in a folder of its own.

    The folder is needed because two addresses may end in the same name. Raises InputError for an address that is not
    allowed.
    """
    _check_address(url)
    folder = _weights_folder("give a file by its path")
    if all(row.url != url for row in published_weights()):
        folder /= hashlib.sha256(url.encode()).hexdigest()[:12]
    name = re.sub(r"[^\w.+-]", "_", PurePosixPath(unquote(urlsplit(url).path)).name)[-150:].lstrip(".")
    return folder / (name or "weights")


def _check_address(url: str) -> None:
    """Raise InputError for an address that is not allowed. The error never shows credentials."""
    try:
        parts = urlsplit(url)
        is_ours = parts.port is None or parts.port > 0
    except ValueError:
        is_ours = False
    if not is_ours or not parts.hostname:
        raise InputError("expected an address such as https://HOST/FILE for weights")
    if "@" in parts.netloc:
        raise InputError("the address of weights must not hold credentials: it ends up in logs and results")
    if not is_secure(url):
        raise InputError(f"{url}: weights are downloaded only by https://")


def _weights_folder(otherwise: str) -> Path:
    home = os.path.expanduser("~")
    if home == "~":
        raise InputError(f"there is no home folder to download weights to: {otherwise}")
    return Path(home, ".paddle", "weights")


def fetch(url: str, target: Path, otherwise: str, sha256: str = "", max_bytes: int = sys.maxsize) -> Path:
    """Return `target`; if it does not exist, download it from `url` first. Otherwise the network is not used.

    otherwise: what the user can do without the file; the error says it after the way to fetch the file by hand.
    sha256: the first digits of its digest. max_bytes: the file's largest size.

    Raises InputError if it cannot be fetched or its folder cannot be written, RunError if the disk is full.
    """
    if target.is_file():
        return target
    part = target.with_name(target.name + ".part")
    try:
        with writing(target), _locked(target):
            if target.is_file():  # another process was faster
                return target
            say(f"downloading {url} to {target}")
            receive(url, part, max_bytes)
            if fault := _fault_of(part, sha256):
                part.unlink()
                raise DownloadStopped(fault)
            os.replace(part, target)
            validator_of(part).unlink(missing_ok=True)
    except DownloadStopped as error:
        raise InputError(
            f"{target} is not there and cannot be downloaded ({error}); fetch {url} by other means and put it at "
            f"{target}, or {otherwise}"
        ) from error
    return target


def _fault_of(part: Path, sha256: str) -> str:
    """Return why the downloaded file is not the wanted one, e.g. a proxy's page; '' if it may be."""
    with open(part, "rb") as file:
        head = file.read(9)
    # A pickle, a zip (PyTorch's or another), a .tar.gz; or .safetensors: the length of its header, then the header.
    if not head.startswith((b"\x80", b"PK\x03\x04", b"\x1f\x8b")) and head[4:] != b"\0\0\0\0{":
        return "what arrived is another kind of file, perhaps a proxy's page"
    found = digest(part)
    if not found.startswith(sha256):
        return f"the SHA-256 of what arrived begins with {found[:8]}, not with {sha256}"
    return ""


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Keep other processes away from `target`. Raises InputError if its folder cannot be written.

    Where there are no locks, two downloads at once damage each other's partial file, whose size then reveals it.
    """
    lock = target.with_name(target.name + ".lock")
    with os_errors(InputError, f"{target.parent}: cannot be written"):
        target.parent.mkdir(parents=True, exist_ok=True)
        file = hold(lock, math.inf)
    with file:
        yield
        # A process that waits for the unlinked file then finds the target and returns. After an error the lock stays.
        lock.unlink(missing_ok=True)


def _unpack(archive: Path, target: Path) -> None:
    """Unpack the archive so that `target` is its only folder, or holds its files. Raises InputError, RunError."""
    temporary = tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent, ignore_cleanup_errors=True)
    with writing(target), temporary as folder:
        files = Path(folder, target.name)
        files.mkdir()
        try:
            extract(archive, files)
        except FormatError as error:
            raise InputError(f"{archive}: {error}; delete it to have it downloaded again") from error
        entries = list(files.iterdir())
        os.replace(entries[0] if len(entries) == 1 and entries[0].is_dir() else files, target)

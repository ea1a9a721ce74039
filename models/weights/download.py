"""The two published files, in ~/.paddle/weights: downloaded once, resumed after a break, whole or not there."""

import contextlib
import http.client
import os
import re
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from models.weights.archive import ArchiveError, extract
from utils.errors import InputError, RunError
from utils.log import say

# Where the original's weights have been since 2019.
BASE_URL = "https://paddlemodels.bj.bcebos.com/video_classification/"
_TIMEOUT = 30  # seconds without a byte
_BLOCK = 1 << 18


class _NetworkError(Exception):
    """The download stopped; what has arrived is kept."""


def published_tsn(folder: str | os.PathLike | None = None, base_url: str = BASE_URL) -> Path:
    """The original's TSN trained on Kinetics-400, in `folder` (~/.paddle/weights). Raises InputError, RunError."""
    target = _weights_folder(folder) / "TSN.pdparams"
    return fetch(base_url + "TSN.pdparams", target, b"\x80", "give the weights by --weights=PATH")


def imagenet_resnet50(folder: str | os.PathLike | None = None, base_url: str = BASE_URL) -> Path:
    """The original's ImageNet ResNet-50, unpacked in `folder` (~/.paddle/weights). Raises InputError, RunError."""
    target = _weights_folder(folder) / "ResNet50_pretrained"
    if target.is_dir():
        return target
    archive = target.with_name("ResNet50_pretrained.tar.gz")
    url = base_url + archive.name
    fetch(url, archive, b"\x1f\x8b", "start from random weights by --pretrain=none, or give others by --pretrain=PATH")
    with _locked(target):
        if not target.is_dir():
            _unpack(archive, target)
    return target


def _weights_folder(folder: str | os.PathLike | None) -> Path:
    return Path(folder) if folder is not None else Path("~/.paddle/weights").expanduser()


def fetch(url: str, target: Path, magic: bytes, otherwise: str) -> Path:
    """`target`, downloaded from `url` unless it is there; the network is not touched then.

    magic: the bytes the file must start with, so that a proxy's page is not taken for it. otherwise: what the user
    can do without the file; the error says it after the way to fetch the file by hand.

    Raises InputError when it cannot be fetched or its folder cannot be written, RunError when the disk is full.
    """
    if target.is_file():
        return target
    part = target.with_name(target.name + ".part")
    try:
        with _locked(target):
            if target.is_file():  # another process was faster
                return target
            say(f"downloading {url} to {target}")
            _download(url, part)
            with open(part, "rb") as file:
                if file.read(len(magic)) != magic:
                    part.unlink()
                    raise _NetworkError("what arrived is another kind of file, perhaps a proxy's page")
            os.replace(part, target)
            _validator_of(part).unlink(missing_ok=True)
    except _NetworkError as error:
        raise InputError(
            f"{target} is not there and cannot be downloaded ({error}); fetch {url} by other means and put it at "
            f"{target}, or {otherwise}"
        ) from error
    except OSError as error:
        raise RunError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Holds other processes off `target`. Raises InputError when its folder cannot be written.

    On Windows, which has no flock, two downloads at once damage each other's part; its size then gives them away.
    """
    lock = target.with_name(target.name + ".lock")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = open(lock, "ab")  # noqa: SIM115  (closed below; the errors of what is done meanwhile are not its own)
    except OSError as error:
        raise InputError(f"{target.parent}: cannot be written: {error.strerror or error}") from error
    with file:
        if os.name != "nt":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield
        # Who waits for the unlinked file finds the target there and leaves. After an error the lock file stays.
        lock.unlink(missing_ok=True)


def _validator_of(part: Path) -> Path:
    """Where the version of the remote file that `part` belongs to is noted: its ETag or date."""
    return part.with_name(part.name + ".version")


def _download(url: str, part: Path) -> None:
    """Nothing; `part` is complete afterwards. Goes on as long as attempts bring new bytes. Raises _NetworkError."""
    reached, dropped = _size(part), False
    while True:
        try:
            with _open(url, part) as response:
                if response is not None:
                    _receive(response, part)
            return
        except _NetworkError:
            if _size(part) > reached:
                reached = _size(part)
            elif reached and not _size(part) and not dropped:  # the part was of no use: one fresh start
                dropped = True
            else:
                raise


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@contextlib.contextmanager
def _open(url: str, part: Path) -> Iterator[http.client.HTTPResponse | None]:
    """The response with the bytes that `part` lacks, None when it lacks none. Raises _NetworkError."""
    version = _validator_of(part)
    start = _size(part) if version.exists() else 0
    headers = {"User-Agent": "paddle-tsn", "Accept-Encoding": "identity"}
    if start:  # If-Range: the whole file comes when it is another one by now
        headers |= {"Range": f"bytes={start}-", "If-Range": version.read_text(encoding="latin1")}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{start}":
                yield None
                return
            if error.code == 416:  # longer than the file: of no use
                part.unlink()
            raise _NetworkError(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _NetworkError(_reason(error)) from error
    with response:
        yield response


def _receive(response: http.client.HTTPResponse, part: Path) -> None:
    """Nothing; appends a 206 to `part`, or replaces it by a 200. Raises _NetworkError when bytes are missing."""
    from tqdm import tqdm

    start, total = 0, response.headers.get("Content-Length")
    if response.status == 206:
        given = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        start = part.stat().st_size
        if given is None or int(given[1]) != start:
            part.unlink()
            raise _NetworkError("the server sends another part than it was asked for")
        total = given[2]
    size = int(total) if total and total.isdigit() else None
    if start == 0:
        _note_version(response, part)
    interval = 0.2 if sys.stderr.isatty() else 10.0
    bar = tqdm(desc=part.stem, total=size, initial=start, unit="B", unit_scale=True, mininterval=interval, leave=False)
    with bar, open(part, "ab" if start else "wb") as file:
        while True:
            try:
                block = response.read(_BLOCK)
            except (OSError, http.client.HTTPException) as error:
                raise _NetworkError(_reason(error)) from error
            if not block:
                break
            file.write(block)
            bar.update(len(block))
    if size is not None and part.stat().st_size != size:
        received = part.stat().st_size
        if received > size:
            part.unlink()
        raise _NetworkError(f"the connection ended after {received} of {size} bytes")


def _note_version(response: http.client.HTTPResponse, part: Path) -> None:
    """Nothing; keeps what a later request needs to go on with the same file, if the server says it."""
    etag = response.headers.get("ETag", "")
    version = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")  # no weak ETag in If-Range
    part.unlink(missing_ok=True)
    if version:
        _validator_of(part).write_text(version, encoding="latin1")
    else:
        _validator_of(part).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """The cause of a network error in a few words, one line."""
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__).replace("\n", " ")


def _unpack(archive: Path, target: Path) -> None:
    """Nothing; `target` is the archive's only folder afterwards, or holds its files. Raises InputError, RunError."""
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    files = temporary / target.name
    try:
        files.mkdir()
        extract(archive, files)
        entries = list(files.iterdir())
        os.replace(entries[0] if len(entries) == 1 and entries[0].is_dir() else files, target)
    except ArchiveError as error:
        raise InputError(f"{archive}: {error}; delete it to have it downloaded again") from error
    except OSError as error:
        raise RunError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)

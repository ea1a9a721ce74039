"""Download into a partial file: each attempt resumes the last one, as long as attempts bring new bytes."""

import contextlib
import http.client
import re
import string
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

_TIMEOUT = 30  # seconds without a byte
_BLOCK = 1 << 18
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class DownloadStopped(Exception):
    """The download stopped; the bytes received so far are kept."""


def is_secure(url: str) -> bool:
    """Return whether the address is https, or http on this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server's redirects to the file, from https only to https."""

    def redirect_request(self, request, file, code, message, headers, url):
        if not is_secure(url) or (request.type == "https" and urlsplit(url).scheme != "https"):
            file.close()
            raise DownloadStopped(f"the server leads on to {url[:200]!r}, which is not followed")
        return super().redirect_request(request, file, code, message, headers, url)


def validator_of(part: Path) -> Path:
    """Return the path that notes which version of the remote file `part` belongs to: its ETag or date."""
    return part.with_name(part.name + ".version")


def receive(url: str, part: Path, max_bytes: int) -> None:
    """Complete `part`; try again as long as attempts bring new bytes. Raises DownloadStopped."""
    reached, dropped = _size(part), False
    while True:
        try:
            with _open(url, part) as response:
                if response is not None:
                    _receive(response, part, max_bytes)
            return
        except DownloadStopped:
            if _size(part) > reached:
                reached = _size(part)
            elif reached and not _size(part) and not dropped:  # the part was useless: start afresh once
                dropped = True
            else:
                raise


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


@contextlib.contextmanager
def _open(url: str, part: Path) -> Iterator[http.client.HTTPResponse | None]:
    """Open the response with the bytes that `part` lacks; yield None if it lacks none. Raises DownloadStopped."""
    version = validator_of(part)
    start = _size(part) if version.exists() else 0
    headers = {"User-Agent": "paddle-tsn", "Accept-Encoding": "identity"}
    if start:  # If-Range: the server sends the whole file if it has changed
        headers |= {"Range": f"bytes={start}-", "If-Range": version.read_text(encoding="latin1")}
    try:
        request = urllib.request.Request(quote(url, safe=string.punctuation), headers=headers)
        response = urllib.request.build_opener(_Redirects).open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{start}":
                yield None
                return
            if error.code == 416:  # the part is longer than the file, so it is useless
                part.unlink()
            raise DownloadStopped(f"the server answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise DownloadStopped(_reason(error)) from error
    with response:
        yield response


def _receive(response: http.client.HTTPResponse, part: Path, max_bytes: int) -> None:
    """Append a response 206 to `part`, or replace `part` by a response 200.

    Raises DownloadStopped if bytes are missing, or if there are more than `max_bytes`.
    """
    from tqdm import tqdm

    start, total = 0, response.headers.get("Content-Length")
    if response.status == 206:
        given = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        start = part.stat().st_size
        if given is None or int(given[1]) != start:
            part.unlink()
            raise DownloadStopped("the server sends another part than it was asked for")
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
                raise DownloadStopped(_reason(error)) from error
            if not block:
                break
            if max(size or 0, file.tell() + len(block)) > max_bytes:
                part.unlink()
                raise DownloadStopped(f"it is larger than {max_bytes >> 30} GB: too large for a ResNet's weights")
            file.write(block)
            bar.update(len(block))
    if size is not None and part.stat().st_size != size:
        received = part.stat().st_size
        if received > size:
            part.unlink()
        raise DownloadStopped(f"the connection ended after {received} of {size} bytes")


def _note_version(response: http.client.HTTPResponse, part: Path) -> None:
    """Store the file's version, if the server states it, so that a later request can resume the same file."""
    etag = response.headers.get("ETag", "")
    version = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")  # no weak ETag in If-Range
    part.unlink(missing_ok=True)
    if version:
        validator_of(part).write_text(version, encoding="latin1")
    else:
        validator_of(part).unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    """Return the cause of a network error in a few words, on one line."""
    cause = getattr(error, "reason", error)
    return str(getattr(cause, "strerror", None) or cause or type(cause).__name__).replace("\n", " ")

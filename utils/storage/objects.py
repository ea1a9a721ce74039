"""Files in object storage, by a path such as s3://bucket/key, gs://bucket/key or hdfs://host:port/path.

pyarrow.fs does the work, and is imported only for such paths. Credentials, region and endpoint come from where each
store's own tools look for them: for S3 AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, ~/.aws, and
AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL. `?region=`, `?endpoint_override=` and the others of _PARAMETERS after a path
apply to that path alone. A path is taken as written: nothing in it is percent-encoded.

Only S3 is tested; gs:// and hdfs:// use pyarrow in the same way, with what their drivers need.
"""

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, urlencode

from utils.errors import InputError
from utils.packages import import_extra

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

_PARAMETERS = {
    "s3": ("region", "scheme", "endpoint_override"),
    "gs": ("scheme", "endpoint_override"),
    "hdfs": ("user", "replication", "kerb_ticket"),
}
_QUERY = re.compile(r"\?([\w-]+=[^?]*)$")  # a `?` that is not followed by a name and `=` belongs to the file's name
# Seconds. Four attempts at a silent server take 44 s, less than a video's time limit (60 s by default).
CONNECT_LIMIT, SILENCE_LIMIT = 5, 10
WAITS = (0.5, 1.0, 2.0)
# Bytes of one S3 request: most clips fit into one, and a reader process holds no more of a film in memory.
_BLOCK = 8 << 20

Result = TypeVar("Result")


class StorageError(OSError):
    """A file could not be read or written; `strerror` says why, in one line without the path."""

    def __init__(self, reason: str):
        super().__init__(errno.EIO, reason)


def is_remote(path: str | os.PathLike) -> bool:
    """Return whether the path is in object storage."""
    return isinstance(path, str) and path.startswith(("s3://", "gs://", "hdfs://"))


def check_path(path: str, where: str) -> None:
    """Raise InputError, which begins with `where`, for a remote path that is malformed or may contain a secret.

    The error does not show the path. A path that passes this check may be printed.
    """
    if not is_remote(path):
        return
    scheme, authority, _, query = _split(path)
    if ":" in authority.partition("@")[0] and (scheme != "hdfs" or "@" in authority):
        raise InputError(
            f"{where}: no credentials in a path, because it appears in logs and results: set them in the environment"
        )
    if scheme != "hdfs" and not re.fullmatch(r"[\w.-]+", authority):
        raise InputError(f"{where}: expected {scheme}://BUCKET/PATH")
    for name in query.keys() - {*_PARAMETERS[scheme]}:
        raise InputError(f"{where}: {scheme}:// takes {', '.join(_PARAMETERS[scheme])} after the ?, not {name}")


def file_name(path: str) -> str:
    """Return the last part of a remote path, without its parameters."""
    return PurePosixPath(_split(path)[2]).name


def extended(path: str, end: str) -> str:
    """Return the remote path, without a / at its end, followed by `end`, such as "/name", and its parameters."""
    match = _QUERY.search(path)
    query = match[0] if match else ""
    return f"{path.removesuffix(query).rstrip('/')}{end}{query}"


def file_size(path: str) -> int:
    """Return the size of a remote file in bytes. Raises StorageError."""

    def ask(filesystem: "FileSystem", key: str) -> int:
        with filesystem.open_input_file(key) as source:
            return source.size()

    return _persistently(path, ask)


def look_up(path: str) -> "FileInfo":
    """Return pyarrow's facts about a remote path; their type may be NotFound. Raises StorageError."""
    return _persistently(path, lambda filesystem, key: filesystem.get_file_info(key))


def list_files(path: str) -> "list[FileInfo]":
    """Return the files of a remote folder, sorted by name, without its subfolders. Raises StorageError."""
    fs = _pyarrow_fs(path)
    found = _persistently(path, lambda filesystem, key: filesystem.get_file_info(fs.FileSelector(key)))
    return sorted((info for info in found if info.is_file), key=lambda info: info.base_name)


def copy_to_local(path: str, target: Path) -> None:
    """Copy a remote file to `target`. Raises StorageError; the file at `target` is then useless."""

    def copy(filesystem: "FileSystem", key: str) -> None:
        with filesystem.open_input_file(key) as source, open(target, "wb") as file:
            size, free = source.size(), shutil.disk_usage(target.parent).free
            if size > free:
                raise StorageError(f"its {size} bytes do not fit into {target.parent}, which has {free} left")
            while block := source.read(_BLOCK):
                file.write(block)
            if file.tell() != size:
                raise OSError(f"the connection ended after {file.tell()} of {size} bytes")

    _persistently(path, copy)


def upload(source: Path, path: str) -> None:
    """Copy a local file to a remote path, where it appears whole or not at all. Raises StorageError."""
    fs = _pyarrow_fs(path)

    def copy(filesystem: "FileSystem", key: str) -> None:
        # In one call: if an exception closed a stream, S3 would make a file of the bytes received so far.
        local = fs.LocalFileSystem()
        fs.copy_files(str(source), key, source_filesystem=local, destination_filesystem=filesystem, chunk_size=_BLOCK)

    _persistently(path, copy)


def remove_file(path: str) -> None:
    """Remove a remote file. Raises StorageError."""
    _persistently(path, lambda filesystem, key: filesystem.delete_file(key))


def check_writable(path: str) -> None:
    """Raise StorageError unless files can be written to the remote folder. It leaves at most an empty folder."""
    probe = extended(path, "/.write-check")
    _persistently(probe, lambda filesystem, key: filesystem.open_output_stream(key).close())
    with contextlib.suppress(FileNotFoundError, StorageError):  # another process has deleted it, or we may not
        _persistently(probe, lambda filesystem, key: filesystem.delete_file(key))


def _split(path: str) -> tuple[str, str, str, dict[str, str]]:
    """Return (scheme, bucket or host, path within it, parameters) of a remote path."""
    scheme, _, rest = path.partition("://")
    query = _QUERY.search(rest)
    if query:
        rest = rest[: query.start()]
    authority, _, key = rest.partition("/")
    return scheme, authority, key, dict(parse_qsl(query[1], keep_blank_values=True)) if query else {}


def _pyarrow_fs(path: str):
    """Return the module pyarrow.fs. Raises InputError if it cannot be imported."""
    return import_extra("pyarrow.fs", path, "requirements-cluster.txt", "pyarrow")


def _locate(path: str) -> "tuple[FileSystem, str]":
    """Return the file system that a remote path names, and the path within it."""
    fs = _pyarrow_fs(path)
    scheme, authority, key, query = _split(path)
    if scheme == "s3":
        endpoint = query.get("endpoint_override") or next(
            filter(None, map(os.environ.get, ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))), None
        )
        region = query.get("region") or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        region = region or (None if endpoint else fs.resolve_s3_region(authority))
        return _s3(endpoint, region, query.get("scheme")), f"{authority}/{key}".rstrip("/")
    if scheme == "gs":
        query["retry_limit_seconds"] = str(SILENCE_LIMIT)
        filesystem, _ = fs.FileSystem.from_uri(f"gs://{authority}?{urlencode(query)}")
        return filesystem, f"{authority}/{key}".rstrip("/")
    filesystem, _ = fs.FileSystem.from_uri(f"hdfs://{authority}/?{urlencode(query)}")
    return filesystem, f"/{key}"


@cache  # reuses its connections
def _s3(endpoint: str | None, region: str | None, scheme: str | None) -> "FileSystem":
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    return S3FileSystem(
        endpoint_override=endpoint,
        region=region,
        scheme=scheme,
        connect_timeout=CONNECT_LIMIT,
        request_timeout=SILENCE_LIMIT,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),  # `_persistently` tries again instead
    )


def _persistently(path: str, action: "Callable[[FileSystem, str], Result]") -> Result:
    """Return `action(file system, path in it)`; call it again after each of WAITS while the network is at fault.

    Raises StorageError.
    """
    for wait in (*WAITS, None):
        try:
            return action(*_locate(path))
        except StorageError:
            raise
        except FileNotFoundError:
            raise StorageError(_what_is_missing(path)) from None
        except (OSError, ValueError, NotImplementedError) as error:
            reason, passing = _describe(error)
            if not passing:
                raise StorageError(reason) from error
            if wait is None:
                raise StorageError(f"{reason} ({len(WAITS) + 1} attempts)") from error
        time.sleep(wait)


def _what_is_missing(path: str) -> str:
    """Return which part of a path is missing, after the store said that there is no such path."""
    scheme, authority, _, _ = _split(path)
    with contextlib.suppress(OSError):  # the right to read a file does not include the right to see the bucket
        filesystem, _ = _locate(path)
        if scheme != "hdfs" and filesystem.get_file_info(authority).type.name == "NotFound":
            return "no such bucket"
    return "no such file"


# pyarrow's text for an error answer of S3: a word, often the HTTP status, and a message.
_ANSWER = re.compile(r"AWS Error ([A-Z_0-9]+)(?: \(HTTP status (\d+)\))? during \w+ operation: (.*)", re.DOTALL)
_CURL = re.compile(r"curlCode: \d+, ([^;]*)")
_DENIED = re.compile(r"ACCESS_DENIED|ACCESS_KEY|SIGNATURE|TOKEN|CLIENT_ID|ACCOUNT|OPT_IN")
_GONE = {"NO_SUCH_BUCKET": "no such bucket", "RESOURCE_NOT_FOUND": "no such bucket", "NO_SUCH_KEY": "no such file"}
# Other texts of pyarrow for errors that last, whatever the attempt: a folder, an unknown bucket, a driver of HDFS.
_LASTING = re.compile(r"Not a regular file|not found|Unable to load")


def _describe(error: Exception) -> tuple[str, bool]:
    """Return (reason, whether it may pass) for an error of pyarrow; the reason is one line, the same in every run."""
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full: {os.strerror(error.errno)}", False
    text = " ".join(str(error).split())
    if isinstance(error, PermissionError):
        return "no permission", False
    if not (answer := _ANSWER.search(text)):
        return text[:300], isinstance(error, OSError) and not _LASTING.search(text)
    word, status, message = answer.groups()
    if curl := _CURL.match(message):
        return f"the server cannot be reached: {curl[1]}", True
    if word in _GONE:
        return _GONE[word], False
    if _DENIED.search(word):
        return f"no permission ({word})", False
    hint = ", the bucket lies in another region: set AWS_REGION" if status == "301" else ""
    if status and status[0] in "34" and status not in ("408", "429"):
        return f"the server answers HTTP status {status}{hint}", False
    return f"the server answers {f'HTTP status {status}' if status else word}", True

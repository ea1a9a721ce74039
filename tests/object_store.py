"""S3 servers on this machine: moto's, and one whose answers a test chooses.

Without their packages, tests that import this file are skipped.
"""

import http.server
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pytest

_MISSING = "pip install -r requirements-test.txt"
pytest.importorskip("pyarrow.fs", reason=_MISSING)
boto3 = pytest.importorskip("boto3", reason=_MISSING)
moto_server = pytest.importorskip("moto.server", reason=_MISSING)

# The user's own settings must not be sent anywhere, and must not decide anything.
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_DEFAULT_REGION": "us-east-1",
}
Handler: TypeAlias = http.server.BaseHTTPRequestHandler


def start_server() -> tuple[moto_server.ThreadedMotoServer, str]:
    """Return a running server, which the caller stops, and its URL. All servers of a process share their buckets."""
    server = moto_server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    return server, "http://{}:{}".format(*server.get_host_and_port())


class Store:
    """One of moto's servers with one bucket. It is the endpoint in the environment of this process and its children."""

    bucket = "clips"

    def __enter__(self) -> "Store":
        self._server, self.endpoint = start_server()
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL_S3"):
            os.environ.pop(name, None)
        os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=self.endpoint)
        self._client = boto3.client("s3", endpoint_url=self.endpoint)
        self._client.create_bucket(Bucket=self.bucket)
        return self

    def __exit__(self, *_) -> None:
        self._server.stop()

    def put(self, key: str, content: bytes | Path) -> str:
        """Store an object and return its path, s3://BUCKET/KEY."""
        content = content.read_bytes() if isinstance(content, Path) else content
        self._client.put_object(Bucket=self.bucket, Key=key, Body=content)
        return f"s3://{self.bucket}/{key}"

    def get(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def keys(self, prefix: str) -> list[str]:
        """Return the names below the prefix, without the empty objects that mark folders."""
        found = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return [item["Key"].removeprefix(prefix) for item in found if not item["Key"].endswith("/")]


@contextmanager
def answering(answer: Callable[[Handler], None]) -> Iterator[str]:
    """Yield parameters, "?scheme=http&...", that send requests to a server that replies with `answer`."""

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            answer(self)

        do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"?scheme=http&endpoint_override=127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def reply(request: Handler, status: int, content: bytes = b"", length: int | None = None) -> None:
    """Answer with `content`, announced as `length` bytes."""
    request.send_response(status)
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    if request.command == "GET":
        request.wfile.write(content)


@contextmanager
def silent() -> Iterator[str]:
    """Yield parameters that send requests to a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"?scheme=http&endpoint_override=127.0.0.1:{server.getsockname()[1]}"


def closed() -> str:
    """Return parameters that send requests to a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"?scheme=http&endpoint_override=127.0.0.1:{server.getsockname()[1]}"

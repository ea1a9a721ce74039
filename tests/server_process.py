"""serve.py as a process, and requests as bytes, for tests of hostile clients."""

import os
import re
import signal
import socket
import time
from pathlib import Path

from fork_server import start_python

BOUNDARY = "9f3c"


class Server:
    """A server on a free port of this machine. Its temporary files are in `folder`.

    A context manager: leaving it sends Ctrl-C, and checks the exit code.
    """

    def __init__(self, folder: Path, *flags: str):
        self.folder, self._log = folder, folder / "log"
        self._command = ["serve.py", "--port=0", *flags]

    def __enter__(self) -> "Server":
        environment = {**os.environ, "TMPDIR": str(self.folder)}
        self.process = start_python(self._command, environment, self._log)
        end = time.monotonic() + 120
        while not (found := re.search(r"serving on http://[^:]+:(\d+)\n", self.log)):
            assert self.process.poll() is None and time.monotonic() < end, self.log
            time.sleep(0.05)
        self.port = int(found[1])
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(self, error: type[BaseException] | None, *_) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            assert self.process.wait(60) == 130 or error

    @property
    def log(self) -> str:
        return self._log.read_text()

    def settled(self) -> "Server":
        """Wait until the server has logged the requests whose clients did not wait for an answer. Return the server."""
        said, since = self.log, time.monotonic()
        while self.uploads() or time.monotonic() < since + 1:
            time.sleep(0.05)
            if (now := self.log) != said:
                said, since = now, time.monotonic()
        return self

    def uploads(self) -> list[Path]:
        """Return the files that are being answered."""
        return list(self.folder.glob("paddle-tsn-*/*"))

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def refuses(self) -> bool:
        """Return whether the server refuses connections."""
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    def send(self, request: bytes) -> bytes:
        """Return the whole answer; the server must close the connection."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    """Return all bytes until the other side closes."""
    found = bytearray()
    while piece := connection.recv(65536):
        found += piece
    return bytes(found)


def form(content: bytes, field: str = "video", name: str = "clip.mp4") -> bytes:
    """Return the body of a form with one file."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


def post(body: bytes, *, length: int | None = None, kind: str = f"multipart/form-data; boundary={BOUNDARY}") -> bytes:
    """Return a request after whose answer the server closes the connection.

    length: the announced length, if it is wrong.
    """
    announced = len(body) if length is None else length
    head = f"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {announced}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body

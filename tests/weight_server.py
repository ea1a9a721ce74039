"""A server of weights on this machine that makes the mistakes it is told to, and a table of weights for it."""

import contextlib
import http.server
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import yaml

from utils.config.published import TABLE


class Server(http.server.ThreadingHTTPServer):
    """Serves `files`. The other attributes set its mistakes; `requests` has the paths and ranges asked for."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges = True  # whether it understands the Range header
        self.validators = {"ETag": '"1"'}
        self.break_after: list[int] = []  # the number of bytes after which each of the next bodies ends
        self.status = 0
        self.chunked = False
        self.content_range = ""
        self.location = ""  # where it redirects to
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append((self.path, wanted))
        if server.location:
            self.send_response(302)
            self.send_header("Location", server.location)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        body = server.files.get(self.path[1:])
        if server.status or body is None:
            return self.send_error(server.status or 404)
        status, total, start = 200, len(body), 0
        is_same = self.headers.get("If-Range") in server.validators.values()
        if wanted and server.ranges and is_same:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            status, body = 206, body[start:]
        self.send_response(status)
        for name, value in server.validators.items():
            self.send_header(name, value)
        if status == 206:
            self.send_header("Content-Range", server.content_range or f"bytes {start}-{total - 1}/{total}")
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        part = body[: server.break_after.pop(0)] if server.break_after else body
        if server.chunked:
            end = b"0\r\n\r\n" if part == body else b""
            part = f"{len(body):x}\r\n".encode() + part + b"\r\n" + end
        self.wfile.write(part)


@contextlib.contextmanager
def serving(files: dict[str, bytes], certificate: Path | None = None) -> Iterator[Server]:
    """Yield the running server. With a certificate, it speaks https."""
    server = Server()
    server.files |= files
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def write_table(path: Path, server: Server, **rows: dict) -> None:
    """Write the shipped table with this server instead of all others. rows: keys to change, by name."""
    tree = yaml.safe_load(TABLE.read_text())
    for source in tree["sources"].values():
        source["files"] = server.url
    for alias, changed in rows.items():
        [row] = [row for name, row in tree["weights"].items() if alias in (name, *row.get("aliases", ()))]
        row |= changed
    path.write_text(yaml.safe_dump(tree))

"""Clients that try to block the server for others cost it little time and few lines of its log."""

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from conftest import wait_until
from server_process import BOUNDARY, Server, form, post, read_all

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

import uvicorn  # noqa: E402  (an optional package)
from h11 import LocalProtocolError  # noqa: E402

from apps.serving import body as bodies  # noqa: E402  (these import fastapi)
from apps.serving import quiet  # noqa: E402
from apps.serving import server as serving  # noqa: E402
from apps.serving.app import create_app  # noqa: E402
from apps.serving.quotas import Limits, Options  # noqa: E402
from apps.serving.upload import Folder  # noqa: E402

DISPOSITION = 'Content-Disposition: form-data; name="video"; filename="clip.mp4"'


def part(*headers: str) -> bytes:
    return f"--{BOUNDARY}\r\n{''.join(f'{header}{chr(13)}{chr(10)}' for header in headers)}\r\n".encode()


def parts(number: int) -> bytes:
    return number * part("a: b").replace(b"\r\n\r\n", b"\r\n\r\n\r\n")


DAMAGED = 400, "the form is damaged"
COSTLY = {
    "a long header": (part(f"X: {'x' * 990_000}"), *DAMAGED),
    "headers together": (part(DISPOSITION, *[f"X: {'x' * 2000}"] * 3), *DAMAGED),
    "parameters": (part(f"Content-Disposition: form-data{';a=1' * 240_000}"), *DAMAGED),
    "many headers": (part(*["x: y"] * 150_000), *DAMAGED),
    "many parts": (parts(50_000), 400, "the form has more than 64 parts"),
    "not too many": (parts(63) + form(b"x"), 422, "clip.mp4: not a readable video file"),
    "not too long": (form(b"x", name=f"{'x' * 3800}.mp4"), 422, f"{'x' * 255}: not a readable video file"),
}  # fmt: skip


@pytest.mark.parametrize("body, status, sentence", COSTLY.values(), ids=COSTLY)
def test_a_form_that_takes_long_to_parse_is_refused_while_others_are_answered(server, body, status, sentence):
    with ThreadPoolExecutor(1) as thread:
        start = time.monotonic()
        answer = thread.submit(server.send, post(body))
        assert httpx.get(f"{server.url}/health").json() == {"status": "ok"}
        answered = time.monotonic() - start
        head, _, content = answer.result().partition(b"\r\n\r\n")
    assert (int(head.split()[1]), json.loads(content)) == (status, {"error": sentence})
    assert answered < 1.5  # seconds; most of it is for a busy machine


def test_a_long_content_type_is_refused(server):
    answer = server.send(post(form(b"x"), kind=f"multipart/form-data{';' * 50_000}"))
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert answer.endswith(b'{"error":"the type of the body is longer than 1024 bytes"}')


def damaged_requests() -> list[bytes]:
    """Return 200 requests that are refused, of every kind that could write to the log."""
    chunked = post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    whole = form(b"no video")
    kinds = [
        post(b"no form"),
        post(part("X: " + "x" * 5000)),
        post(b"--" + BOUNDARY.encode() + b"-x"),
        post(part("no header")),
        post(whole[:-8]),
        post(whole + b"and more"),
        post(whole),
        post(whole, kind="text/plain"),
        post(whole, kind="multipart/form-data; boundary*=nonsense'en'%ff"),
        chunked + b"no chunk\r\n",
        b"no request\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\n\r\n",
        b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ]
    return [kinds[number % len(kinds)] for number in range(200)]


def test_a_refused_request_leaves_a_line_in_the_log_at_most(server):
    """This holds for bytes after an answered request, too; uvicorn would log a traceback."""
    before = len(server.settled().log)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda request: talk(server, request), damaged_requests()))
    said = server.log[before:].splitlines()
    line = re.compile(r"\S+ \S+ 127\.0\.0\.1 (GET|POST) .* ([2-4]\d\d|503), ")  # 503: too many at once
    assert len(said) <= 200 and all(map(line.match, said))


def talk(server: Server, request: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(request)
        if not request.startswith(b"GET /health"):
            read_all(connection)
            return
        found = b""
        while not found.endswith(b'{"status":"ok"}'):
            found += connection.recv(65536)
        connection.sendall(b"no chunk\r\n\r\n")
        assert read_all(connection) == b""


def test_lines_of_one_kind_become_rare(caplog):
    logger, rarer = logging.getLogger("of a test"), quiet.Rarer()
    logger.addFilter(rarer)
    for number in range(100):
        logger.error("client %d", number)
        logger.error("another line")
    said = [record.getMessage() for record in caplog.records if "client" in record.getMessage()]
    assert said == ["client 0", *(f"({n} times by now) client {n - 1}" for n in (2, 4, 8, 16, 32, 64))]
    logger.error("a client broke HTTP", exc_info=LocalProtocolError("state=MUST_CLOSE"))
    assert "a client broke HTTP" not in caplog.text


# Slow clients


@contextlib.contextmanager
def in_a_thread(app) -> Iterator[tuple[int, uvicorn.Server]]:
    """Yield (port, server) of a server for this application."""
    listener = serving.open_socket("127.0.0.1", 0)
    listener.listen()
    running = uvicorn.Server(serving._config(app))
    thread = threading.Thread(target=lambda: asyncio.run(running.serve([listener])))
    thread.start()
    try:
        yield listener.getsockname()[1], running
    finally:
        running.should_exit = True
        thread.join()
        listener.close()


def small_app(folder: Folder, failure: Exception | None = None):
    """Return the application without a network."""
    service = SimpleNamespace(
        limits=Limits(upload_bytes=10**6, seconds=60.0, waiting=4), reading_seconds=1.0, uploads=set(),
        failure=failure, check_queue=lambda: None, retry_after=lambda: 7,
    )  # fmt: skip
    return create_app(service, {"topk": 1, "num_classes": 2}, folder, Options(), None)


def test_health_after_the_network_has_failed(temporary):
    with in_a_thread(small_app(Folder(), RuntimeError())) as (port, _):
        answer = httpx.get(f"http://127.0.0.1:{port}/health")
    assert (answer.status_code, answer.json()) == (503, {"error": "the network has failed"})
    assert answer.headers["retry-after"] == "7"


def test_slow_clients_are_not_waited_for(temporary, monkeypatch):
    """A client has ten seconds for a request's head, and for each piece of its body. Others are answered meanwhile."""
    assert (serving.HEAD_SECONDS, bodies.PIECE_SECONDS) == (10, 10)
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(bodies, "PIECE_SECONDS", 0.5)
    monkeypatch.setattr(bodies, "PAUSE_SECONDS", 0.1)
    folder = Folder()
    app = small_app(folder)
    request = post(form(b"no video"))
    with (
        folder,
        in_a_thread(app) as (port, _),
        socket.create_connection(("127.0.0.1", port), 20) as head,
        socket.create_connection(("127.0.0.1", port), 20) as piece,
    ):
        head.sendall(request[:30])
        piece.sendall(request[:-20])
        assert httpx.get(f"http://127.0.0.1:{port}/health").json() == {"status": "ok"}
        answer = read_all(piece)
        assert answer.startswith(b"HTTP/1.1 408 ") and answer.endswith(b'{"error":"the upload is too slow"}')
        assert read_all(head) == b""


@pytest.fixture
def large_answers(monkeypatch):
    """Provide (port, server) of a server in a thread. Its answers have 1 MB; clients have 0.5 s to take them."""
    monkeypatch.setattr(serving, "ANSWER_SECONDS", 0.5)

    async def app(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})
        await send({"type": "http.response.body", "body": bytes(10**6)})

    with in_a_thread(app) as running:
        yield running


@pytest.mark.parametrize("ending", [b"", b"Connection: close\r\n"], ids=["open", "to be closed"])
def test_a_client_that_never_reads_is_cut_off(large_answers, caplog, ending):
    port, running = large_answers
    clients = [socket.socket() for _ in range(5)]
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + ending + b"\r\n")
    wait_until(lambda: len(running.server_state.connections) == 5)
    wait_until(lambda: not running.server_state.connections, seconds=10)
    for client in clients:
        client.close()
    said = [record.getMessage() for record in caplog.records]
    cut = "a client did not take its answer in 0.5 s: its connection is cut off"
    assert said == [cut, f"(2 times by now) {cut}", f"(4 times by now) {cut}"]
    assert len(httpx.get(f"http://127.0.0.1:{port}").content) == 10**6


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="needs Linux")
def test_the_system_drops_an_answer_that_nobody_takes(monkeypatch):
    """The system buffers a small answer, and would keep it for minutes after the connection's end."""
    monkeypatch.setattr(serving, "ANSWER_SECONDS", 0.5)
    with serving.open_socket("127.0.0.1", 0) as listener, socket.socket() as client:
        listener.listen()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(listener.getsockname())
        connection, (_, port) = listener.accept()
        connection.setblocking(False)
        assert connection.send(bytes(100_000)) == 100_000
        connection.close()
        ours = f" 0100007F:{listener.getsockname()[1]:04X} 0100007F:{port:04X} "
        assert ours in proc_net_tcp()
        wait_until(lambda: ours not in proc_net_tcp(), seconds=10)


def proc_net_tcp() -> str:
    with open("/proc/net/tcp") as file:
        return file.read()


# Removed while the server runs


def test_the_folder_of_uploads_is_made_again(server, workspace):
    clip = post(form(workspace.held_out[0][0].read_bytes()))
    [folder] = server.folder.glob("paddle-tsn-*")
    shutil.rmtree(folder)
    assert server.send(clip).startswith(b"HTTP/1.1 200 ")
    [again] = server.folder.glob("paddle-tsn-*")
    assert again != folder and again.stat().st_mode & 0o777 == 0o700


def test_readers_that_are_killed_are_replaced(server, workspace):
    clip = post(form(workspace.held_out[0][0].read_bytes()))
    for _ in range(2):
        assert server.send(clip).startswith(b"HTTP/1.1 200 ")
        found = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True).stdout.split()
        assert found
        for pid in map(int, found):
            os.kill(pid, signal.SIGKILL)
    assert server.send(clip).startswith(b"HTTP/1.1 200 ") and server.process.poll() is None

"""Clients that go away are not worked for; clients of a server that ends get an answer."""

import os
import signal
import time

import pytest

from conftest import children, wait_until
from fork_server import process_file
from server_process import Server, form, post, read_all

pytest.importorskip("fastapi")


@pytest.fixture
def clip(workspace) -> bytes:
    return post(form(workspace.held_out[0][0].read_bytes()))


def readers(server: Server) -> set[int]:
    """Return the reader processes."""
    return {pid for pid in children(server.process.pid) if b"spawn_main" in process_file(pid, "cmdline")}


def test_a_client_that_goes_away_makes_nobody_wait(server, clip):
    """Without the cancellation, a clip whose reader is stopped would take 20 s."""
    assert server.settled().send(clip).startswith(b"HTTP/1.1 200 ")
    stopped = set()
    while new := readers(server) - stopped:  # one that replaces an earlier one may only begin now
        for pid in new:
            os.kill(pid, signal.SIGSTOP)
        stopped |= new
        time.sleep(0.3)
    assert stopped
    start = time.monotonic()
    with server.connect() as connection:
        connection.sendall(clip)
        wait_until(server.uploads)
        time.sleep(2)  # until a reader has it, also on a busy machine
    wait_until(lambda: stopped - readers(server) and server.uploads() == [], seconds=10)
    for pid in stopped & readers(server):
        os.kill(pid, signal.SIGCONT)
    assert server.send(clip).startswith(b"HTTP/1.1 200 ") and time.monotonic() - start < 18


@pytest.fixture
def own(workspace, tmp_path):
    with Server(tmp_path, workspace.config, workspace.weights, "--grace_seconds=1") as running:
        yield running


@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_an_incomplete_upload_gets_a_sentence_at_the_end(own, clip, number, code, word):
    """A complete upload is still answered."""
    with own.connect() as late, own.connect() as there:
        late.sendall(clip[:-20])
        wait_until(own.uploads)
        there.sendall(clip)
        wait_until(lambda: len(own.uploads()) == 2)
        own.process.send_signal(number)
        assert read_all(there).startswith(b"HTTP/1.1 200 ")
        answer = read_all(late)
    assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\nretry-after: " in answer
    assert answer.endswith(b'{"error":"the server ended before the upload was complete: try again"}')
    assert own.process.wait(20) == code
    assert own.log.splitlines()[-1] == word and "Traceback" not in own.log
    assert list(own.folder.glob("paddle-tsn-*")) == []


@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_second_signal_ends_at_once(workspace, tmp_path, clip, number, code, word):
    with (
        Server(tmp_path, workspace.config, workspace.weights, "--grace_seconds=60") as own,
        own.connect() as connection,
    ):
        connection.sendall(clip[:-20])
        wait_until(own.uploads)
        own.process.send_signal(signal.SIGTERM)
        wait_until(own.refuses)
        own.process.send_signal(number)
        assert own.process.wait(5) == code
        assert own.log.splitlines()[-1] == word and "Traceback" not in own.log
        assert list(tmp_path.glob("paddle-tsn-*")) == []

"""serve.py as a command: wrong flags, the token, and its end."""

import asyncio
import os
import signal
import socket
import sys
from types import SimpleNamespace
from unittest import mock

import pytest

import serve
from apps.serving.quotas import Limits, Options
from conftest import ROOT, run_script, says, wait_until
from server_process import Server, form, post, read_all
from utils.config.loading import load_config
from utils.errors import InputError

httpx = pytest.importorskip("httpx")
pytest.importorskip("fastapi")

from apps.serving import server  # noqa: E402  (it imports fastapi)

OPEN = "other machines", "--token=SECRET", "--host=127.0.0.1"
REFUSED = {
    "open_to_all": (["--host=0.0.0.0"], ["--host=0.0.0.0: ", *OPEN]),
    "open_to_all_in_6": (["--host=::"], ["--host=::: ", *OPEN]),
    "a_name": (["--host=example.invalid"], ["--host=example.invalid: ", *OPEN]),
    "no_address": (["--host=a.invalid", "--token=x"], ["--host=a.invalid: ", "no such address"]),
    "a_blank": (["--token=a b"], ["--token: ", "printable ASCII characters", "without spaces"]),
    "no_port": (["--port=65536"], ["--port=65536: ", "from 0 to 65535", "not 65536"]),
    "no_size": (["--max_upload_mb=0"], ["--max_upload_mb=0: ", "from 1 to 1000000", "not 0"]),
    "no_length": (["--max_seconds=0"], ["--max_seconds=0: ", "above 0", "not 0"]),
    "decord": (["--set", "MODEL.decoder=decord"], ["INFER.decoder: ", "pyav or auto", "not decord"]),
    "opencv": (["--set", "INFER.decoder=opencv"], ["INFER.decoder: ", "pyav or auto", "not opencv"]),
    "unknown": (["--save_dir=x"], ["unknown flag ", "--save_dir", "serve.py --help"]),
}  # fmt: skip


@pytest.mark.parametrize("flags, pieces", REFUSED.values(), ids=REFUSED)
def test_a_wrong_flag_is_an_error_before_the_network_is_loaded(workspace, monkeypatch, flags, pieces):
    monkeypatch.setattr(sys, "argv", ["serve.py", workspace.config, "--weights=none.pdparams", *flags])
    with mock.patch.dict(os.environ), pytest.raises(InputError) as error:
        serve.main()
    says(error.value, *pieces)


def test_a_wrong_flag_is_one_line(workspace):
    flags, pieces = REFUSED["open_to_all"]
    process = run_script("serve", workspace.config, workspace.weights, *flags)
    assert process.returncode == 2
    says(process.stderr, "error: ", *pieces)


def test_a_port_in_use_is_an_error_before_the_network_is_loaded(workspace):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = run_script("serve", workspace.config, workspace.weights, f"--port={port}")
    assert process.returncode == 2 and process.stdout == ""
    says(process.stderr, f"error: --host=127.0.0.1 --port={port}: ", "Address already in use")


def test_a_missing_package_is_one_line(workspace, tmp_path):
    (tmp_path / "python_multipart.py").write_text("raise ModuleNotFoundError(name='python_multipart')")
    process = run_script("serve", workspace.config, workspace.weights, PYTHONPATH=str(tmp_path))
    assert process.returncode == 2
    says(process.stderr, "error: serve.py ", "python-multipart", "pip install -r requirements-serve.txt")


def test_a_token_is_needed_and_sigterm_finishes_the_requests(workspace, tmp_path):
    """The folder that a killed server left is removed, too."""
    clip = form(workspace.held_out[0][0].read_bytes())
    key = b"Authorization: Bearer secret\r\nContent-Length"
    left = tmp_path / ("paddle-tsn-" + 32 * "0")
    left.mkdir()
    (left / "upload").write_bytes(b"of a server that was killed")
    os.utime(left, (0, 0))
    with Server(tmp_path, workspace.config, workspace.weights, "--host=127.0.0.1", "--token=secret") as server:
        assert not left.exists() and len(list(tmp_path.glob("paddle-tsn-*"))) == 1
        for headers in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "secret"}):
            for response in (
                httpx.get(f"{server.url}/api/info", headers=headers),
                httpx.post(f"{server.url}/api/predict", files={"video": b"x"}, headers=headers),
            ):
                assert response.status_code == 401 and response.headers["www-authenticate"] == "Bearer"
                assert response.json() == {"error": "the token is missing or wrong: Authorization: Bearer TOKEN"}
        known = {"Authorization": "Bearer secret"}
        assert httpx.get(f"{server.url}/api/info", headers=known).status_code == 200
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert "secret" not in server.log

        connections = [server.connect() for _ in range(6)]
        for number, connection in enumerate(connections):
            request = post(clip).replace(b"Content-Length", key)
            connection.sendall(request if number else request[:-1])  # the first is not complete yet
        wait_until(lambda: len(server.uploads()) > 1)
        server.process.send_signal(signal.SIGTERM)
        wait_until(server.refuses)
        connections[0].sendall(b"\n")
        answers = [read_all(connection) for connection in connections]
        for connection in connections:
            connection.close()
        assert [answer.split(b" ")[1] for answer in answers] == 6 * [b"200"]
        assert server.process.wait(60) == 143
        assert server.log.splitlines()[-1] == "terminated" and list(tmp_path.glob("paddle-tsn-*")) == []


def test_a_client_that_reads_the_line_can_connect_at_once(monkeypatch, tmp_path):
    """The socket listens before the line is printed, by which a service knows that the server is ready."""
    config = load_config(ROOT / "configs" / "tsn.yaml")
    classifier = SimpleNamespace(names=[], network=SimpleNamespace(precision="", weights=""), config=config)
    limits = Limits(upload_bytes=10**6, seconds=60.0, waiting=1)
    service = SimpleNamespace(classifier=classifier, section=config.infer, limits=limits, reading_seconds=1.0)
    listener = server.open_socket("127.0.0.1", 0)
    came = []
    come = lambda line: came.append(socket.create_connection(listener.getsockname(), 5))  # noqa: E731
    monkeypatch.setattr(server, "say", lambda line: come(line) if "http://" in line else None)
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict:
        return next(events)

    async def send(message: dict) -> None:
        assert "failed" not in message["type"]

    app = server._server(service, tmp_path, listener, Options()).config.app
    asyncio.run(app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))
    [connection] = came
    connection.close()
    listener.close()

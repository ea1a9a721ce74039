"""Run the server: its socket, its time limits for clients, and its end."""

import asyncio
import ipaddress
import os
import re
import signal
import socket
from functools import partial
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from apps.serving.app import create_app
from apps.serving.quiet import limit_log
from apps.serving.quotas import (
    ANSWER_SECONDS,
    CONNECTIONS,
    HEAD_SECONDS,
    KEPT_BYTES,
    TOLD_SO,
    Limits,
    Options,
)
from apps.serving.record import Metrics, Record
from apps.serving.service import Service
from apps.serving.upload import Folder
from inference.api import Classifier
from models.registry import backbone_of
from reader.build import describe_protocol
from utils.cli import Terminated, run
from utils.errors import InputError, RunError, os_errors
from utils.log import say

_OWN_NAMES = {"localhost", "127.0.0.1", "::1"}


def read_token(given: str | None, path: str | None) -> str | None:
    """Return the token from the flag, the file or $PADDLE_TSN_TOKEN, or None if there is none.

    Raises InputError.
    """
    if not path:
        return given or os.environ.get("PADDLE_TSN_TOKEN") or None
    if given:
        raise InputError("--token and --token_file: give only one of them")
    with os_errors(InputError, f"--token_file={path}"):
        token = Path(path).read_text("utf-8", "replace").strip()
    if not token:
        raise InputError(f"--token_file={path}: the file is empty")
    return token


def read_origins(text: str | None) -> tuple[str, ...]:
    """Return the origins from a comma-separated list. Raises InputError."""
    origins = tuple(origin.strip().rstrip("/") for origin in text.split(",")) if text else ()
    for origin in origins:
        if not re.fullmatch(r"https?://[^/?#@*\s]+", origin):
            raise InputError(f"--allow_origin={text}: expected https://HOST, separated by commas, not {origin!r}")
    return origins


def check_address(host: str, token: str | None) -> None:
    """Raise InputError for an address that other machines reach without a token, or that cannot stand in a header."""
    if token and not all("!" <= c <= "~" for c in token):
        raise InputError("--token: expected printable ASCII characters without spaces")
    if not token and not is_loopback(host):
        raise InputError(f"--host={host}: other machines reach this address: give --token=SECRET, or --host=127.0.0.1")


def check_decoder(decoder: str) -> None:
    """Raise InputError for a decoder that guesses file types: it could read a file as another type than was checked."""
    if decoder not in ("auto", "pyav"):
        raise InputError(f"INFER.decoder: expected pyav or auto for serve.py, not {decoder}")


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address. A name other than localhost may mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address; port 0: any free port. Raises InputError if it is not available."""
    with os_errors(InputError, f"--host={host}: no such address"):
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        _limit_answers(found)
    except OSError as error:
        found.close()
        raise InputError(f"--host={host} --port={port}: cannot listen there: {error.strerror}") from None
    return found


def _limit_answers(listener: socket.socket) -> None:
    """Limit how much of an answer the system buffers, and for how long; connections inherit the limits."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KEPT_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: also ends connections that are already closed
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * ANSWER_SECONDS))


def serve(classifier: Classifier, limits: Limits, listener: socket.socket, options: Options) -> None:
    """Answer until a signal comes. Then finish the current requests and let the signal take effect.

    Raises RunError when the network fails.
    """
    with Folder() as folder, Service(classifier, limits) as service:
        server = _server(service, folder, listener, options)
        server.run(sockets=[listener])
        if service.failure is not None:
            raise RunError(f"the network failed: {service.failure}")


class _Server(uvicorn.Server):
    """uvicorn's server, but uploads end some seconds after a signal, and at once after a second one of either kind."""

    def __init__(self, config: uvicorn.Config, service: Service, folder: Folder, grace_seconds: float):
        super().__init__(config)
        self._service, self._folder, self._grace_seconds = service, folder, grace_seconds

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(self._grace_seconds, self._end_uploads)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._captured_signals:
            run(partial(self._end, sig))
        self._captured_signals.append(sig)
        self.should_exit = True

    def _end_uploads(self) -> None:
        for body in self._service.uploads:
            body.give_up()

    def _end(self, sig: int) -> None:
        self._folder.__exit__()
        raise KeyboardInterrupt if sig == signal.SIGINT else Terminated


def _server(service: Service, folder: Folder, listener: socket.socket, options: Options) -> uvicorn.Server:
    network, section, model = service.classifier.network, service.section, service.classifier.config.model
    info = {
        "model": f"{model.name} {backbone_of(model)}",
        "protocol": describe_protocol(section),
        "arithmetic": network.precision,
        "weights": network.weights,
        "num_classes": model.num_classes,
        "labels": model.labels,
        "classes": service.classifier.names,
        "topk": model.num_classes if model.labels == "multi" else section.topk,  # their thresholds choose
    }
    host, port = listener.getsockname()[:2]
    names = {host, *_OWN_NAMES, *(urlsplit(origin).hostname for origin in options.origins)}
    metrics = Metrics(service) if options.metrics else None
    app = Record(create_app(service, info, folder, options, None if options.token else names, metrics), metrics)
    shown = f"[{host}]" if ":" in host else host

    async def announced(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            listener.listen()  # otherwise a client that reads the line and connects at once is refused
            say("Ctrl-C ends the server")
            say(f"serving on http://{shown}:{port}")
        await app(scope, receive, send)

    server = _Server(_config(announced), service, folder, options.grace_seconds)
    service.stop = lambda: setattr(server, "should_exit", True)
    return server


def _config(app) -> uvicorn.Config:
    limit_log()
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
    )


class PatientProtocol(H11Protocol):
    """uvicorn's protocol, with HEAD_SECONDS for a request's head and ANSWER_SECONDS for a client to take answers."""

    _timer: asyncio.TimerHandle | None = None
    _unsent: asyncio.TimerHandle | None = None  # set while the system takes no more bytes

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # to be told of every waiting byte
        if len(self.connections) > CONNECTIONS + TOLD_SO:
            transport.abort()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._cancel("_timer")
        self._cancel("_unsent")

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unsent is None:
            self._unsent = self.loop.call_later(ANSWER_SECONDS, self._cut_off)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._cancel("_unsent")

    def send_400_response(self, msg: str) -> None:
        try:
            super().send_400_response(msg)
        except h11.LocalProtocolError:  # the request is already answered, and no request follows
            self.transport.close()

    def _cancel(self, name: str) -> None:
        if timer := getattr(self, name):
            timer.cancel()
            setattr(self, name, None)

    def _cut_off(self) -> None:
        self._unsent = None
        self.logger.error("a client did not take its answer in %g s: its connection is cut off", ANSWER_SECONDS)
        self.transport.abort()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._cancel("_timer")
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._end_if_idle)

    def _end_if_idle(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

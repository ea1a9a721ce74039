"""The server: its socket, its patience with clients, and how it ends."""

import asyncio
import ipaddress
import socket
from pathlib import Path

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from inference.api import Classifier
from reader.build import describe_protocol
from serving.app import create_app
from serving.limits import CONNECTIONS, GRACE_SECONDS, HEAD_SECONDS, Limits
from serving.service import Service
from utils.copies import claimed_folder
from utils.errors import InputError, RunError
from utils.log import say

_OWN_NAMES = {"localhost", "127.0.0.1", "::1"}


def check_address(host: str, token: str | None) -> None:
    """Raises InputError for an address that other machines reach without a token, and for one that no header holds."""
    if token and not all("!" <= c <= "~" for c in token):
        raise InputError("--token: expected letters, digits and signs of ASCII without blanks")
    if not token and not is_loopback(host):
        raise InputError(f"--host={host}: other machines reach this address: give --token=SECRET, or --host=127.0.0.1")


def is_loopback(host: str) -> bool:
    """Whether nothing but this machine reaches an address. A name other than localhost may mean anything."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the address; 0: any free port. Raises InputError where it is not to be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        found = socket.socket(family)
    except OSError as error:
        raise InputError(f"--host={host}: no such address: {error.strerror}") from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        found.close()
        raise InputError(f"--host={host} --port={port}: cannot be listened on: {error.strerror}") from None
    return found


def serve(classifier: Classifier, limits: Limits, listener: socket.socket, token: str | None) -> None:
    """Answers until a signal comes; then what is in hand is finished, and the signal takes its course.

    Raises RunError when the network fails.
    """
    with claimed_folder() as folder, Service(classifier, limits) as service:
        server = _server(service, folder, listener, token)
        server.run(sockets=[listener])
        if service.failure is not None:
            raise RunError(f"the network failed: {service.failure}")


def _server(service: Service, folder: Path, listener: socket.socket, token: str | None) -> uvicorn.Server:
    network, section, model = service.classifier.network, service.section, service.classifier.config.model
    info = {
        "model": f"{model.name} {model.backbone}-{model.num_layers}",
        "protocol": describe_protocol(section),
        "arithmetic": network.arithmetic,
        "weights": network.weights,
        "num_classes": model.num_classes,
        "topk": section.topk,
    }
    host, port = listener.getsockname()[:2]
    app = create_app(service, info, folder, token, None if token else {host, *_OWN_NAMES})
    shown = f"[{host}]" if ":" in host else host

    async def announced(scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            listener.listen()  # else who reads the line and comes at once is refused
            say(f"serving on http://{shown}:{port} (Ctrl-C ends it)")
        await app(scope, receive, send)

    config = uvicorn.Config(
        announced,
        http=PatientProtocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    service.stop = lambda: setattr(server, "should_exit", True)
    return server


class PatientProtocol(H11Protocol):
    """uvicorn's, but whoever is connected has HEAD_SECONDS for the head of a request."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._unwatch()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._end_if_idle)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_if_idle(self) -> None:
        self._timer = None
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

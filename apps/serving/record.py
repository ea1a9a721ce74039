"""Record each request: a line in the log, and numbers for Prometheus."""

import sys
import time

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.serving.service import Service
from utils.cli import harmless

_KNOWN = {"/", "/docs", "/openapi.json", "/health", "/metrics", "/api/info", "/api/predict"}


class Metrics:
    """Counts and seconds over all requests."""

    def __init__(self, service: Service):
        import prometheus_client as prometheus  # serve.py says how to install it

        self._kept = kept = prometheus.CollectorRegistry()
        self._requests = prometheus.Counter("tsn_requests", "Requests by status", ["status"], registry=kept)
        self._videos = prometheus.Counter("tsn_videos", "Videos that were answered", registry=kept)
        self._seconds = prometheus.Histogram("tsn_seconds", "Seconds of a video", ["kind"], registry=kept)
        queue = prometheus.Gauge("tsn_queue", "Videos in hand", registry=kept)
        queue.set_function(lambda: service.in_hand)

    def add(self, status: int, state: dict) -> None:
        self._requests.labels(str(status)).inc()
        if status == 200 and "waited" in state:
            self._videos.inc()
            for kind in ("waited", "computed"):
                self._seconds.labels(kind).observe(state[kind])

    def page(self) -> Response:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return Response(generate_latest(self._kept), media_type=CONTENT_TYPE_LATEST)


class Record:
    """Writes a line for each finished request, without file names."""

    def __init__(self, app: ASGIApp, metrics: Metrics | None):
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size, status = 0, 0

        async def received() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            return message

        async def sent(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, received, sent)
        finally:
            state = scope["state"]
            if self._metrics is not None:
                self._metrics.add(status, state)
            path = scope["path"] if scope["path"] in _KNOWN else "another address"
            seconds = "".join(f", {kind} {state[kind]:.2f} s" for kind in ("waited", "computed") if kind in state)
            client = (scope["client"] or ["-"])[0]
            reason = f": {' '.join(state['reason'].split())}" if "reason" in state else ""
            line = f"{client} {scope['method']} {path} {status}, {size} bytes{seconds}{reason}"
            print(time.strftime("%Y-%m-%d %H:%M:%S"), harmless(line), file=sys.stderr, flush=True)

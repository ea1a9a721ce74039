"""What stands before every address: who may ask, and what browsers are told."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses pages of other sites, which a visitor's browser would let ask a server on his own machine."""

    def __init__(self, app, names: set[str] | None):
        """names: the hosts that the server may be called by; None: any, as whoever asks needs a token."""
        self._app, self._names = app, names

    async def __call__(self, scope, receive, send) -> None:
        async def send_with_headers(message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] == "http" and self._names is not None and (problem := self._problem(Headers(scope=scope))):
            response = JSONResponse({"error": problem}, 403, {"Connection": "close"})
            await response(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _problem(self, headers: Headers) -> str:
        host = headers.get("host", "")
        if _name(f"//{host}") not in self._names:
            return "this server answers to the names of its own machine alone"
        if (origin := headers.get("origin")) is not None and origin.partition("//")[2] != host:
            return "a page of another site may not ask this server"
        return ""


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None

"""Check every request before it reaches an address, and set the headers for browsers."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from apps.serving.body import Refused
from apps.serving.quotas import Refusal

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses other sites' pages, which could use a visitor's browser to reach a server on the visitor's machine."""

    def __init__(self, app, names: set[str] | None, origins: tuple[str, ...]):
        """Guard `app`.

        Args:
            names: host names that requests may use; None: any, because a token is needed.
            origins: of other pages that may send requests, as "https://example.org".
        """
        self._app, self._names, self._origins = app, names, origins

    async def __call__(self, scope, receive, send) -> None:
        async def send_with_headers(message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] == "http" and self._names is not None and (problem := self._problem(Headers(scope=scope))):
            await Refused(Refusal(403, problem))(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _problem(self, headers: Headers) -> str:
        host = headers.get("host", "")
        if _name(f"//{host}") not in self._names:
            return "this server only answers to the names of its own machine"
        # A page cannot set this proxy header: its browser would ask for permission first, and be refused.
        own = host, headers.get("x-forwarded-host")
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and origin.partition("//")[2] not in own:
            return "pages of other sites may not use this server"
        return ""


def _name(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None

"""Read the body of a request with time limits, and notice a client that goes away."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from apps.serving.quotas import (
    BODY_SECONDS,
    LAST_SECONDS,
    LINGER_BYTES,
    LINGER_SECONDS,
    PAUSE_SECONDS,
    PIECE_SECONDS,
    SLOWEST,
    Refusal,
)

ENDED = "the upload ended early"


class Body:
    """The body of a request, read piece by piece within time limits."""

    def __init__(self, headers: Headers, receive: Receive):
        self.headers, self._receive = headers, receive
        self.ended = self._given_up = False
        self._timeout: asyncio.Timeout | None = None  # for the current wait

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the pieces of the body to its end. Raises Refusal if it stops, is too slow or is given up."""
        clock = asyncio.get_running_loop().time
        start, received = clock(), 0
        while not self.ended:
            left = start + min(BODY_SECONDS, PIECE_SECONDS + received / SLOWEST) - clock()
            try:
                async with asyncio.timeout(0 if self._given_up else min(PIECE_SECONDS, left)) as self._timeout:
                    piece = await self._next()
            except TimeoutError:
                if self._given_up:
                    raise Refusal(503, "the server ended before the upload was complete: try again") from None
                raise Refusal(408, "the upload is too slow") from None
            finally:
                self._timeout = None
            received += len(piece)
            yield piece

    def give_up(self) -> None:
        """Stop waiting for the body, because the server ends."""
        self._given_up = True
        if self._timeout is not None:
            self._timeout.reschedule(0)

    async def unless_gone(self, work: Coroutine[Any, Any, dict]) -> dict:
        """Return the result of `work`, which runs after the body has been read.

        If the client goes away, the work is cancelled. Raises Refusal then.
        """
        task, gone = asyncio.create_task(work), asyncio.create_task(self._wait_for_end())
        try:
            await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Refusal(400, "the client has disconnected")
            return task.result()
        finally:
            task.cancel()
            gone.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)

    async def linger(self) -> None:
        """Read for a while what a refused client still sends."""
        received = 0
        try:
            async with asyncio.timeout(LAST_SECONDS if self._given_up else LINGER_SECONDS) as self._timeout:
                while not self.ended and received < LINGER_BYTES:
                    received += len(await asyncio.wait_for(self._next(), PAUSE_SECONDS))
        except (TimeoutError, Refusal):
            return
        finally:
            self._timeout = None

    async def _next(self) -> bytes:
        message = await self._receive()
        gone = message["type"] == "http.disconnect"
        self.ended = gone or not message.get("more_body", False)
        if gone:
            raise Refusal(400, ENDED)
        return message["body"]

    async def _wait_for_end(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


class Refused(JSONResponse):
    """A one-sentence answer. The rest of the body is read, because a client that is cut off may not see the answer."""

    def __init__(self, refusal: Refusal, headers: dict[str, str] | None = None, body: Body | None = None):
        """body: as far as it was read; None: not read yet."""
        # Unread bytes of a refused client must not become the start of its next request.
        kept_open = body is not None and body.ended
        headers = (headers or {}) | ({} if kept_open else {"Connection": "close"})
        if refusal.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__({"error": refusal.sentence}, refusal.status, headers)
        self._body, self._reason = body, refusal.reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["reason"] = self._reason
        body = self._body or Body(Headers(scope=scope), receive)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        await body.linger()
        await send({"type": "http.response.body"})

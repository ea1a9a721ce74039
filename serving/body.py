"""The body of a request as it comes, not too slow."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request

from serving.limits import BODY_SECONDS, LINGER_SECONDS, PIECE_SECONDS, SLOWEST, Refusal

ENDED = "the upload ended early"


class Body:
    """The body of a request as it comes, in time."""

    def __init__(self, request: Request):
        self.headers, self._receive = request.headers, request.receive
        self._ended = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """What comes next, to the end. Raises Refusal where it stops or is too slow."""
        clock = asyncio.get_running_loop().time
        start, received = clock(), 0
        while not self._ended:
            left = start + min(BODY_SECONDS, PIECE_SECONDS + received / SLOWEST) - clock()
            try:
                async with asyncio.timeout(min(PIECE_SECONDS, left)):
                    message = await self._receive()
            except TimeoutError:
                raise Refusal(408, "the upload is too slow") from None
            gone = message["type"] == "http.disconnect"
            self._ended = gone or not message.get("more_body", False)
            if gone:
                raise Refusal(400, ENDED)
            received += len(message["body"])
            yield message["body"]

    async def linger(self, max_bytes: int) -> None:
        """Takes in what a refused client still sends, for a moment."""
        if "expect" in self.headers:  # it sends nothing before it is asked to
            return
        received = 0
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                async for piece in self.pieces():
                    received += len(piece)
                    if received > max_bytes:
                        return
        except (TimeoutError, Refusal):
            return

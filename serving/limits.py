"""What a server takes from whom: numbers that its operator chooses, and those that keep one client from all others."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the flags say."""

    upload_bytes: int  # of a request's body
    seconds: float  # of a video
    waiting: int  # videos that are uploaded and not yet answered


class Refusal(Exception):
    """A request that is not answered as it wishes: the status and one sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence

    @property
    def headers(self) -> dict[str, str]:
        return {503: {"Retry-After": RETRY_AFTER}, 401: {"WWW-Authenticate": "Bearer"}}.get(self.status, {})


RETRY_AFTER = "2"  # seconds: some videos are answered by then
# Seconds in which the head of a request must be there, the next piece of a body, and the whole body.
HEAD_SECONDS, PIECE_SECONDS, BODY_SECONDS = 10.0, 10.0, 600.0
# Bytes per second that a body must have had on average, beyond the first PIECE_SECONDS.
SLOWEST = 32 << 10
# Seconds for which the body of a refused request is still taken in: who is cut off while sending may not see why.
LINGER_SECONDS = 3.0
# Connections at a time. Systems grant a process 1024 files, of which uploads need some, too.
CONNECTIONS = 400
# Seconds for which one video may be read, if INFER.video_timeout does not say less: there is one reader more than
# cores, but two such videos make others wait.
READING_SECONDS = 20.0
# Seconds that SIGTERM leaves to what is in hand.
GRACE_SECONDS = 60
# Videos of one crop that a GPU computes in one call: more of them only let the first wait for the last.
TOGETHER = 8

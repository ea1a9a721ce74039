"""What a server takes from whom: numbers that its operator chooses, and those that keep one client from all others."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What the flags say."""

    upload_bytes: int  # of a request's body
    seconds: float  # of a video
    waiting: int  # videos that are uploaded and not yet answered


@dataclass(frozen=True)
class Options:
    """How it is reached, and how it ends."""

    token: str | None = None
    origins: tuple[str, ...] = ()  # of pages that may ask it besides its own
    grace_seconds: float = 8.0  # for uploads that are still coming in when a signal comes
    metrics: bool = False


class Refusal(Exception):
    """A request that is not answered as it wishes: the status and one sentence."""

    def __init__(self, status: int, sentence: str, reason: str = ""):
        """reason: for the log, where the sentence says more than that shall."""
        super().__init__(sentence)
        self.status, self.sentence, self.reason = status, sentence, reason or sentence


# Seconds that a refused client is told to wait, at most: nobody knows whether those before it come back.
LONGEST_WAIT = 60
# Seconds in which the head of a request must be there, the next piece of a body, and the whole body.
HEAD_SECONDS, PIECE_SECONDS, BODY_SECONDS = 10.0, 10.0, 600.0
# Bytes per second that a body must have had on average, beyond the first PIECE_SECONDS.
SLOWEST = 32 << 10
# Seconds and bytes for which the body of a refused request is still taken in, and the longest pause: who is cut off
# while sending may not see why. And the seconds when the server ends.
LINGER_SECONDS, LINGER_BYTES, PAUSE_SECONDS, LAST_SECONDS = 30.0, 1 << 30, 3.0, 1.0
# Seconds in which a client must take its answer, once its own machine and ours hold no more of it.
ANSWER_SECONDS = 30.0
# Bytes of answers that the system keeps for a connection: it would by itself keep megabytes for who never reads.
KEPT_BYTES = 128 << 10
# Bytes of a part's headers in a form, parts of a form, and bytes that are parsed before others have their turn. What
# browsers send is one part with two headers.
PART_HEADERS, PARTS, PARSED_AT_ONCE = 4096, 64, 16 << 10
# Bytes of the header that names the form's boundary, which takes time as the square of its length.
CONTENT_TYPE = 1024
# Connections at a time, and those beyond that are told so; any more are cut off. Systems grant a process 1024 files, of
# which uploads need some, too.
CONNECTIONS, TOLD_SO = 400, 100
# Seconds for which one video may be read, if INFER.video_timeout does not say less: there is one reader more than
# cores, but two such videos make others wait.
READING_SECONDS = 20.0
# Videos of one crop that a GPU computes in one call: more of them only let the first wait for the last.
TOGETHER = 8

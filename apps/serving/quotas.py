"""Define the server's limits: those that its operator sets, and those that stop one client from blocking others."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """The limits set by flags."""

    upload_bytes: int  # of a request's body
    seconds: float  # of a video
    waiting: int  # videos that are uploaded and not yet answered


@dataclass(frozen=True)
class Options:
    """How the server can be reached, and how it ends."""

    token: str | None = None
    origins: tuple[str, ...] = ()  # of other pages that may send requests
    grace_seconds: float = 8.0  # for unfinished uploads after a signal
    metrics: bool = False


class Refusal(Exception):
    """A refused request: the status and one sentence."""

    def __init__(self, status: int, sentence: str, reason: str = ""):
        """reason: for the log, if it should say more than the sentence."""
        super().__init__(sentence)
        self.status, self.sentence, self.reason = status, sentence, reason or sentence


# Most seconds that a refused client is told to wait: earlier clients may not come back.
LONGEST_WAIT = 60
# Seconds for a request's head, for the next piece of a body, and for the whole body.
HEAD_SECONDS, PIECE_SECONDS, BODY_SECONDS = 10.0, 10.0, 600.0
# Bytes per second, the lowest average for a body after the first PIECE_SECONDS.
SLOWEST = 32 << 10
# How long and how many bytes of a refused request's body are still read, and the longest pause: a client that is cut
# off may not see the answer. The last number holds when the server ends.
LINGER_SECONDS, LINGER_BYTES, PAUSE_SECONDS, LAST_SECONDS = 30.0, 1 << 30, 3.0, 1.0
# Seconds for a client to take its answer once the buffers of both machines are full.
ANSWER_SECONDS = 30.0
# Bytes of answers that the system buffers per connection; by default, it keeps megabytes for clients that never read.
KEPT_BYTES = 128 << 10
# Most bytes of a part's headers in a form, most parts of a form, and bytes parsed before other requests get a turn.
# Browsers send one part with two headers.
PART_HEADERS, PARTS, PARSED_AT_ONCE = 4096, 64, 16 << 10
# Most bytes of the header with the form's boundary: parsing takes time with the square of its length.
CONTENT_TYPE = 1024
# Most connections, and most further ones that get an answer saying so; others are cut off. Systems allow a process 1024
# files, and uploads need some too.
CONNECTIONS, TOLD_SO = 400, 100
# Most seconds for reading one video, unless INFER.video_timeout is lower. There is one reader more than cores, but two
# such videos make others wait.
READING_SECONDS = 20.0
# Most one-crop videos per call on a GPU: with more, the first would only wait for the last.
TOGETHER = 8

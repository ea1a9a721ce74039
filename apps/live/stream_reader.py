"""Read one connection to a source in a process of its own, and hand over a window on each request.

Foreign streams may hang, use up all memory or kill the process. It answers with `StreamWindow`, and at last with
`StreamEnd`.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from apps.live.addresses import SILENCE, open_source
from apps.live.arriving import Arrived, Arriving, Silent
from apps.live.recording import Recording
from apps.live.spans import Span, Spans
from reader import sparse
from reader.apart import fault, limit_memory, send
from reader.clip import ClipSpec
from reader.dataset import arranged
from reader.integrity import VideoError
from reader.packets import all_packets
from reader.transforms import crop_frame
from utils.errors import InputError, RunError

# Frames a second if a stream does not say, and the highest rate that is trusted.
_RATE, _MOST_RATE = 25, 240


class StreamWindow(NamedTuple):
    """A window of the stream, and the losses so far."""

    span: Span
    arrived: float  # when its last frame arrived, in seconds since 1970
    frames_dropped: int  # lost, damaged, or too late to be decoded
    windows_dropped: int  # replaced by a later window before they were handed over


class StreamEnd(NamedTuple):
    """The reason why reading ended."""

    opened: bool  # whether the source could be opened
    reason: str | None  # None: the file ended
    error: InputError | RunError | None = None  # an error that opening the source again cannot cure


class _Outbox:
    """The next answer for the parent: the latest window, or every window if the source waits for its reader."""

    def __init__(self, pipe: Connection):
        self._pipe, self._changed = pipe, threading.Condition()
        self.waits = False  # whether the source waits for its reader
        self._next: StreamWindow | StreamEnd | None = None
        self._asked = False
        self._windows_dropped = 0
        self.said: list[dict] = []  # the classes of the parent's latest window
        self.stopped = False  # the parent wants no more
        threading.Thread(target=self._listen, daemon=True).start()

    def put(self, answer: StreamWindow | StreamEnd) -> None:
        """Hand over a window or the last answer; for the last one, wait until the parent has it."""
        with self._changed:
            last = isinstance(answer, StreamEnd)
            if last or self.waits:
                self._changed.wait_for(lambda: self._next is None or self.stopped)
            elif self._next is not None:
                self._windows_dropped += 1
            self._next = answer if last else answer._replace(windows_dropped=self._windows_dropped)
            self._hand_over()
            if last:
                self._changed.wait_for(lambda: self._next is None or self.stopped)

    def _listen(self) -> None:
        with suppress(EOFError, OSError):
            while (said := self._pipe.recv()) is not None:
                with self._changed:
                    self.said, self._asked = said, True
                    self._hand_over()
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def _hand_over(self) -> None:
        if self._asked and self._next is not None:
            send(self._pipe, self._next)
            self._asked, self._next = False, None
            self._changed.notify_all()


def serve(pipe: Connection, source: str, spec: ClipSpec, window: float, stride: float, folder: Path | None) -> None:
    """Read the source until it ends or breaks, or the parent stops. folder: of the recording, if any."""
    limit_memory()
    pipe.send("ready")
    outbox, opened, reason, error = _Outbox(pipe), False, None, None
    try:
        container, stream, outbox.waits = open_source(source)  # not closed, because a thread may be waiting for it
        opened = True
        _read(container, stream, outbox, spec, window, stride, folder)
        reason = None if outbox.waits else "the stream ended"
    except Silent as silent:
        reason = str(silent)
    except av.error.ExitError:
        reason = f"nothing arrived for {SILENCE:g} s"
    except av.FFmpegError as broken:
        reason = f"the connection was lost ({broken.strerror})" if opened else _unopened(broken)
    except Exception as failed:
        told = fault(source, failed)
        reason, error = (told.reason, None) if isinstance(told, VideoError) else (str(told), told)
    outbox.put(StreamEnd(opened, reason, error))


def _unopened(error: av.FFmpegError) -> str:
    if isinstance(error, (av.error.ArgumentError, av.error.InvalidDataError)):  # its format is not allowed
        return "not a video stream in a known format; playlists (HLS, DASH) are not followed"
    return error.strerror


def _read(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    outbox: _Outbox,
    spec: ClipSpec,
    window: float,
    stride: float,
    folder: Path | None,
) -> None:
    rate = min(float(stream.average_rate or stream.guessed_rate or _RATE), _MOST_RATE)
    if outbox.waits and container.duration:
        window = min(window, container.duration / av.time_base)  # a shorter file still gets an answer
    one = replace(spec, num_segments=1)

    def convert(frame: av.VideoFrame) -> np.ndarray:
        image = sparse.as_shown(frame, *sparse.shown_size(frame))
        return arranged(crop_frame(image, one)[None], one)  # [V, H, W, C]

    spans, first, dropped, alive = Spans(spec, window, stride, rate, convert), None, 0, time.monotonic()
    context = stream.codec_context
    with closing(Recording(folder, rate)) if folder else nullcontext() as recording:
        for packet, arrived, lost in _packets(container, stream, outbox.waits):
            if lost:
                context.flush_buffers()
            dropped += lost
            try:
                frames = context.decode(packet)
            except av.FFmpegError:
                frames, dropped = [], dropped + 1
            for frame in frames:
                if frame.is_corrupt:
                    dropped += 1
                    continue
                if first is None:
                    first = frame.pts
                # The stream's time base: frames after the last packet have none.
                at = None if frame.pts is None or first is None else float((frame.pts - first) * stream.time_base)
                for span in spans.add(frame, at):
                    outbox.put(StreamWindow(span, arrived, dropped, 0))
                if recording:
                    recording.put(frame, spans.time, outbox.said)
                alive = time.monotonic()
            if outbox.stopped:
                return
            if time.monotonic() - alive > SILENCE:
                raise Silent(f"no frame could be decoded for {SILENCE:g} s")
        for span in spans.end():
            outbox.put(StreamWindow(span, time.time(), dropped, 0))


def _packets(container: av.container.InputContainer, stream: av.VideoStream, waits: bool) -> Iterator[Arrived]:
    """Yield each packet. If the source waits, end with the packet that makes the decoder return its held frames."""
    if not waits:
        yield from Arriving(container, stream)
        return
    for packet in all_packets(container, stream):
        yield Arrived(packet, time.time(), 0)
    yield Arrived(None, time.time(), 0)

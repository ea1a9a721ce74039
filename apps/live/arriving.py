"""Read the packets of a stream in a thread of its own, and drop those that are too old."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import av

from apps.live.addresses import SILENCE

# Most seconds that a packet may wait for its decoder, and most bytes that may wait in all.
MOST_LAG, MOST_BYTES = 2.0, 64 << 20


class Silent(Exception):
    """Nothing arrived for too long."""


class Arrived(NamedTuple):
    """A packet and the facts of its arrival."""

    packet: av.Packet
    time: float  # seconds since 1970
    dropped: int  # packets dropped between the previous one and this one


class Arriving:
    """The packets of a stream that does not wait. Packets are only dropped up to a key frame, so the rest decodes."""

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream):
        self._queue: deque[Arrived] = deque()
        self._bytes, self._dropped, self._needs_key = 0, 0, False
        self._ended, self._reason = False, None
        self._changed = threading.Condition()
        threading.Thread(target=self._read, args=(container, stream), daemon=True).start()

    def __iter__(self) -> Iterator[Arrived]:
        """Yield each packet up to the stream's end. Raises Silent, and the av.FFmpegError that ends the stream."""
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._queue or self._ended, SILENCE):
                    raise Silent(f"nothing arrived for {SILENCE:g} s")
                if not self._queue:
                    if self._reason is not None:
                        raise self._reason
                    return
                arrived = self._queue.popleft()
                self._bytes -= arrived.packet.size
            yield arrived

    def _read(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    self._take(packet)
                elif packet.pts is None and packet.dts is None:
                    break  # the end of the stream
        except Exception as error:  # raised again in the thread that decodes
            self._reason = error
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _take(self, packet: av.Packet) -> None:
        now = time.time()
        with self._changed:
            if self._needs_key and not packet.is_keyframe:
                self._dropped += 1
                return
            self._queue.append(Arrived(packet, now, self._dropped))
            self._bytes += packet.size
            self._dropped, self._needs_key = 0, False
            if now - self._queue[0].time > MOST_LAG or self._bytes > MOST_BYTES:
                self._drop()
            self._changed.notify()

    def _drop(self) -> None:
        """Drop packets before the latest key frame. If only the first is a key frame, drop all up to the next one."""
        keys = [place for place, arrived in enumerate(self._queue) if arrived.packet.is_keyframe and place]
        kept = list(self._queue)[keys[-1] :] if keys else []
        lost = len(self._queue) - len(kept)
        self._dropped = self._queue[0].dropped + lost
        self._queue = deque(kept)
        self._bytes = sum(arrived.packet.size for arrived in kept)
        self._needs_key = not kept
        if kept:
            self._queue[0] = kept[0]._replace(dropped=self._dropped + kept[0].dropped)
            self._dropped = 0

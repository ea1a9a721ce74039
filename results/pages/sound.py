"""Write a video's sound beside its new pictures: copied if browsers play it from MP4, otherwise as AAC.

Damaged sound is left out: a gap in the sound must not cost the video.
"""

from collections.abc import Iterator

import av

# Audio codecs that browsers play from MP4; others become AAC.
_COPIED = {"aac", "mp3", "mp3float", "opus", "flac"}
_AAC_RATES = {96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000}


class Sound:
    """The first sound track, written in step with the pictures."""

    def __init__(self, out: av.container.OutputContainer, container: av.container.InputContainer, start: float):
        """start: the container's time in seconds when the pictures begin. Sound that cannot be written is left out."""
        self._out, self._written, self._last = out, -float("inf"), None
        self._stream, self._copies = None, True
        self._packets: Iterator[av.Packet] = iter(())
        source = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
        if source is None:
            return
        context = source.codec_context
        self._copies = context.name in _COPIED and (context.name != "aac" or context.extradata is not None)
        try:
            if self._copies:
                self._stream = out.add_stream_from_template(source)
            else:
                rate = context.sample_rate if context.sample_rate in _AAC_RATES else 48_000
                self._stream = out.add_stream("aac", rate=rate)
                self._stream.codec_context.layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        except (av.FFmpegError, ValueError):
            return
        self._shift = round(start / source.time_base)
        self._packets = container.demux(source)

    def write_until(self, time: float) -> None:
        """Write the sound up to this time of the pictures, in seconds. Raises av.FFmpegError if that fails."""
        while self._written < time:
            try:
                packet = next(self._packets, None)
            except av.FFmpegError:
                packet = None
            if packet is None or packet.dts is None and packet.pts is None:
                self._written = float("inf")
                if not self._copies and self._stream is not None:
                    self._out.mux(self._stream.encode(None))
            else:
                at = (packet.dts if packet.pts is None else packet.pts) - self._shift
                self._written = float(at * packet.time_base)
                self._out.mux(self._copied(packet, at) if self._copies else self._encoded(packet))

    def _copied(self, packet: av.Packet, at: int) -> list[av.Packet]:
        order = at if packet.dts is None else packet.dts - self._shift
        if self._last is not None and order <= self._last:
            return []
        packet.pts, packet.dts, packet.stream = at, order, self._stream
        self._last = order
        return [packet]

    def _encoded(self, packet: av.Packet) -> list[av.Packet]:
        shift, packets = self._shift * packet.time_base, []
        try:
            for frame in packet.decode():
                if frame.pts is not None:
                    frame.pts -= round(shift / frame.time_base)
                packets += self._stream.encode(frame)
        except (av.FFmpegError, ValueError):
            pass
        return packets

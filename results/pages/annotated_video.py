"""Write a copy of a video with its classes drawn on it: H.264 in MP4, upright, with sound, for any browser."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction

import av
import numpy as np

from reader import sparse
from reader.clock import Clock
from reader.integrity import VideoError
from reader.packets import open_video, open_with_times, read_packets, video_stream
from reader.videos import MADE_BY
from results.pages.caption import Caption
from results.pages.sound import Sound
from utils.errors import RunError
from utils.packages import import_cv2

cv2 = import_cv2("a labelled video")

# Text needs pixels: smaller frames are enlarged to SMALLEST_SIDE, but no side grows beyond LARGEST_SIDE.
SMALLEST_SIDE, LARGEST_SIDE = 240, 1920
_FRAMES_A_SIGN = 50
_TIME_BASE = Fraction(1, 90_000)  # MPEG's: frames at 24, 25, 30 and 29.97 a second last a whole number of units
# Fast, and hard to tell from the original. The bytes are the same in each run and on any number of cores. By default,
# x264 cuts the picture into a slice per core, and its fastest code sometimes differs between runs, even on one thread.
_THREADS = 4
_OPTIONS = {
    "preset": "veryfast",
    "crf": "20",
    # MP4 gives the duration of the picture stored last. Without reordering it is also the one shown last.
    "x264-params": f"threads={_THREADS}:sliced-threads=0:weightp=0:bframes=0:cpu-independent=1",
}
_BT709 = 1  # the number of H.264's colour primaries, transfer and matrix (ITU-T H.273)

# (start, end, predictions): the predictions drawn between two times in seconds
Cues = Sequence[tuple[float, float, list[dict]]]


def label_video(path: str, target: str, cues: Cues) -> Iterator[float | None]:
    """Write the video at `path` with the predictions of `cues` on it to `target`.

    Yields None as a sign of life for each frame, or the progress in percent. Runs in a process of its own
    (reader/streams.py). Raises VideoError, and RunError if the disk is full.
    """
    try:
        with ExitStack() as files:
            container = files.enter_context(open_video(path))
            out = files.enter_context(av.open(f"file:{target}", "w", format="mp4", options={"movflags": "+faststart"}))
            out.metadata["comment"] = MADE_BY
            yield from _write(path, container, out, files.enter_context(open_with_times(path)), cues)
    except av.FFmpegError as error:
        if error.errno == errno.ENOSPC:
            raise RunError(f"{target}: cannot be written: {error.strerror}") from None
        raise VideoError(path, f"its labelled copy cannot be made: {error.strerror}") from error


def _write(
    path: str,
    container: av.container.InputContainer,
    out: av.container.OutputContainer,
    sound_container: av.container.InputContainer,
    cues: Cues,
) -> Iterator[float | None]:
    source = video_stream(path, container)
    packets = read_packets(path, container, source, kept_bytes=0)
    clock = Clock(packets, container, source)
    if packets.exact:
        clock.distrust(packets)
    picture = sound = None
    convert = sparse.converter(path, _enlarged)
    captions = _Captions(cues)
    start = clock.first * clock.base
    for number, frame in enumerate(sparse.all_frames(packets), start=1):
        image = convert(frame)
        if picture is None:
            picture = add_pictures(out, image, clock.rate, sparse.pixel_shape(packets, frame))
            sound = Sound(out, sound_container, start)  # MP4 needs both streams before the first packet
        time = clock.next(frame)
        if caption := captions.at(time, image):
            caption.put(image)
        put_picture(out, picture, image, time)
        sound.write_until(time)
        yield min(100, 100 * time / clock.duration) if number % _FRAMES_A_SIGN == 0 else None
    if picture is None:
        raise VideoError(path, "no frame could be decoded")
    *others, last = picture.encode(None)  # never empty, because the encoder looks ahead
    last.duration = max(1, round((clock.duration - time) / last.time_base))
    out.mux([*others, last])
    sound.write_until(float("inf"))  # also the sound after the last picture


def _enlarged(frame: np.ndarray) -> np.ndarray:
    """Return a copy of the frame with even width and height, enlarged if it is small."""
    height, width = frame.shape[:2]
    factor = max(1, min(-(-SMALLEST_SIDE // min(height, width)), LARGEST_SIDE // max(height, width)))
    size = width * factor + width * factor % 2, height * factor + height * factor % 2
    if size == (width, height):
        return frame.copy()
    try:
        return cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR)
    except cv2.error as error:
        raise MemoryError from error  # the only error that uint8 frames can cause


def add_pictures(
    out: av.container.OutputContainer, image: np.ndarray, rate: float, pixel_shape: Fraction
) -> av.VideoStream:
    """Return a new stream for pictures like `image`, uint8 [H, W, 3], H and W even. rate: frames a second."""
    stream = out.add_stream("libx264", rate=Fraction(rate).limit_denominator(1001), options=_OPTIONS)
    stream.height, stream.width, stream.pix_fmt = *image.shape[:2], "yuv420p"
    context = stream.codec_context
    context.time_base = _TIME_BASE
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.sample_aspect_ratio = pixel_shape
    return stream


def put_picture(out: av.container.OutputContainer, stream: av.VideoStream, image: np.ndarray, time: float) -> None:
    """Write a picture, RGB uint8 [H, W, 3], that is shown from `time` on, in seconds."""
    drawn = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p", dst_colorspace="ITU709")
    drawn.pts, drawn.time_base = round(time / _TIME_BASE), _TIME_BASE
    out.mux(stream.encode(drawn))


class _Captions:
    """The caption at each time. Times only grow, so only the current caption is kept."""

    def __init__(self, cues: Cues):
        self._cues, self._place, self._made = cues, 0, None

    def at(self, time: float, image: np.ndarray) -> Caption | None:
        """Return the caption at a time, or None in a gap between windows."""
        while self._place < len(self._cues) - 1 and time >= self._cues[self._place + 1][0]:
            self._place, self._made = self._place + 1, None
        start, end, predictions = self._cues[self._place]
        last = self._place == len(self._cues) - 1
        if not last and time >= end:
            return None
        if self._made is None:
            self._made = Caption(predictions, image.shape[1], image.shape[0])
        return self._made

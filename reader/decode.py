"""Frames of a video by their number in display order, decoding no more of the file than they need."""

import importlib
import itertools
from collections.abc import Callable, Sequence
from types import ModuleType

import av
import numpy as np

from reader.integrity import VideoError
from reader.packets import Packets, open_video, read_packets, video_stream
from utils.errors import InputError

__all__ = ["DECODERS", "VideoError", "read_frames"]

Choose = Callable[[int], Sequence[int]]


def read_frames(path: str, choose: Choose, decoder: str = "auto") -> np.ndarray:
    """The chosen frames of a video as uint8 [T, H, W, 3], RGB, rotated the way a player shows them.

    choose: given the number of frames, returns the T indices in display order; any order, repeats allowed. It is
        called a second time where the true number turns out to differ from what the container promised; the last
        answer counts.
    decoder: "pyav" ("auto" means the same), exact on everything it accepts; "decord" and "opencv" are optional and
        known to be wrong on some kinds of files.

    Raises VideoError for a file that cannot be used, IndexError for an index out of range, InputError for a decoder
    that is unknown or not installed.
    """
    if decoder not in DECODERS:
        raise InputError(f"unknown decoder {decoder!r}: expected one of {', '.join(DECODERS)}")
    return DECODERS[decoder](str(path), choose)


def _indices(path: str, choose: Choose, num_frames: int) -> list[int]:
    if num_frames == 0:
        raise VideoError(path, "no frame could be decoded")
    indices = [int(i) for i in choose(num_frames)]
    for i in indices:
        if not 0 <= i < num_frames:
            raise IndexError(f"frame {i} of {path}, which has {num_frames}")
    return indices


def _read_pyav(path: str, choose: Choose) -> np.ndarray:
    with open_video(path) as container:
        stream = video_stream(path, container)
        packets = read_packets(path, container, stream)
        indices = _indices(path, choose, len(packets.shown))
        frames = None
        if packets.exact:
            frames = _decode_sparsely(stream.codec_context, packets, set(indices))
        if frames is None:
            frames, num_frames = _decode_all(stream.codec_context, packets, set(indices))
            if num_frames != len(packets.shown):
                indices = _indices(path, choose, num_frames)
                frames, _ = _decode_all(stream.codec_context, packets, set(indices))
        return _to_array(frames, indices)


class _Untrue(Exception):
    """What the container says about its packets proved wrong."""


def _decode_sparsely(
    context: av.VideoCodecContext, packets: Packets, wanted: set[int]
) -> dict[int, av.VideoFrame] | None:
    """The wanted frames by number, or None where only decoding everything will do."""
    number_at = {packets.times[packets.shown[n]]: n for n in wanted}
    positions = {packets.shown[n] for n in wanted}
    skip = "NONREF" if _marks_unreferenced_frames(context) else "DEFAULT"
    frames: dict[int, av.VideoFrame] = {}
    start_time = latest = None  # presentation times: where the current run began, and of its last frame so far

    def take(decoded: list[av.VideoFrame]) -> None:
        nonlocal latest
        for frame in decoded:
            in_order = frame.pts is not None and (latest is None or frame.pts > latest)
            fields_apart = packets.broadcast and frame.interlaced_frame  # the two fields of a frame can be two packets
            if not in_order or fields_apart or _is_damaged(frame, packets):
                raise _Untrue
            latest = frame.pts
            if frame.pts in number_at:
                frames[number_at[frame.pts]] = frame

    try:
        runs = _runs(packets, positions)
        starts = {first for first, _ in runs}
        for i, packet in packets.read(runs):
            if i in starts:
                if start_time is not None:
                    take(context.decode(None))
                    context.flush_buffers()
                latest, start_time = None, packet.pts
            elif packet.pts < start_time:
                continue  # a leading picture of the first group: wanted ones are part of an earlier run
            context.skip_frame = "DEFAULT" if i in positions else skip
            take(context.decode(packet))
        take(context.decode(None))
    except (av.FFmpegError, _Untrue):
        return None
    if context.has_b_frames and packets.shown == sorted(packets.shown):
        return None  # the codec reorders frames, the timestamps do not: a container that was never told
    return frames if len(frames) == len(wanted) else None


def _marks_unreferenced_frames(context: av.VideoCodecContext) -> bool:
    """Whether the frames that the codec marks as referred to by no other are so, and need not be decoded.

    HEVC means no other of the same temporal layer: one layer it must be (ISO/IEC 14496-15, 8.3.3.1).
    """
    setup = context.extradata or b""
    one_layer = len(setup) > 21 and setup[0] == 1 and setup[21] >> 3 & 7 == 1
    return context.name == "h264" or (context.name == "hevc" and one_layer)


def _runs(packets: Packets, positions: set[int]) -> list[tuple[int, int]]:
    """Which packets to decode for those at `positions`: (first, last), ascending, each beginning at a key frame."""
    runs: list[tuple[int, int]] = []
    for key, position in sorted((packets.key_frame_of(position), position) for position in positions):
        if runs and key <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(runs[-1][1], position))
        else:
            runs.append((key, position))
    return runs


def _decode_all(
    context: av.VideoCodecContext, packets: Packets, wanted: set[int]
) -> tuple[dict[int, av.VideoFrame], int]:
    """The wanted frames by number, and the number of frames, after decoding everything. Raises VideoError."""
    context.flush_buffers()
    context.skip_frame = "DEFAULT"
    frames: dict[int, av.VideoFrame] = {}
    count = 0
    for packet in itertools.chain((packet for _, packet in packets.read([(0, len(packets) - 1)])), [None]):
        try:
            decoded = context.decode(packet)
        except av.FFmpegError as error:
            if count == 0:
                continue  # pictures whose references were in a part that was cut off
            raise VideoError(packets.path, f"damaged: {error.strerror} after {count} frames") from error
        for frame in decoded:
            if _is_damaged(frame, packets):
                raise VideoError(packets.path, f"damaged: frame {count} cannot be decoded")
            if count in wanted:
                frames[count] = frame
            count += 1
    return frames, count


def _is_damaged(frame: av.VideoFrame, packets: Packets) -> bool:
    """Whether parts of the frame could not be decoded. A broadcast recording can end in the middle of a frame."""
    return frame.is_corrupt and not (packets.broadcast and frame.pts == packets.times[-1])


def _to_array(frames: dict[int, av.VideoFrame], indices: list[int]) -> np.ndarray:
    """The frames as uint8 [T, H, W, 3], RGB, upright; all of the size of the first, should it change on the way."""
    size = {"width": frames[indices[0]].width, "height": frames[indices[0]].height}
    images = (_upright(frames[n].to_ndarray(format="rgb24", threads=1, **size), frames[n]) for n in indices)
    first = next(images)
    array = np.empty((len(indices), *first.shape), np.uint8)
    array[0] = first
    for t, image in enumerate(images, start=1):
        array[t] = image
    return array


def _upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """The image turned and mirrored the way the display matrix of its frame says."""
    if not frame.rotation:
        return image
    try:
        matrix = np.frombuffer(frame.side_data["DISPLAYMATRIX"], np.int32)
    except ValueError:  # PyAV does not know one of the kinds of side data, and then shows none
        return np.rot90(image, round(frame.rotation / 90))
    # Rows (a, b, u), (c, d, v), (x, y, w): x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 8.3.2).
    a, b, _, c, d = matrix[:5]
    if abs(b) > abs(a):
        image, right, down = image.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def _optional(module: str, decoder: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"decoder {decoder} needs the package {package}, which cannot be imported: {error}") from error


def _check(path: str) -> None:
    """Raises VideoError for files that the other decoders accept without a word, or follow to other files."""
    with open_video(path) as container:
        read_packets(path, container, video_stream(path, container))


def _read_opencv(path: str, choose: Choose) -> np.ndarray:
    """Every frame is decoded: its seeking misses, and its count of frames is the container's promise."""
    cv2 = _optional("cv2", "opencv", "opencv-python-headless")
    _check(path)

    def grab(wanted: set[int]) -> tuple[dict[int, np.ndarray], int]:
        capture = cv2.VideoCapture(f"file:{path}", cv2.CAP_FFMPEG)
        try:
            frames, count = {}, 0
            while capture.grab():
                if count in wanted:
                    frames[count] = cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)
                count += 1
            return frames, count
        finally:
            capture.release()

    _, num_frames = grab(set())
    indices = _indices(path, choose, num_frames)
    frames, _ = grab(set(indices))
    return np.stack([frames[i] for i in indices])


def _read_decord(path: str, choose: Choose) -> np.ndarray:
    decord = _optional("decord", "decord", "decord")
    _check(path)
    try:
        reader = decord.VideoReader(path, ctx=decord.cpu(0), num_threads=1)
        return reader.get_batch(_indices(path, choose, len(reader))).asnumpy()
    except decord.DECORDError as error:
        raise VideoError(path, f"decord cannot read it ({str(error).strip().splitlines()[-1]})") from error


DECODERS: dict[str, Callable[[str, Choose], np.ndarray]] = {
    "auto": _read_pyav,
    "pyav": _read_pyav,
    "decord": _read_decord,
    "opencv": _read_opencv,
}

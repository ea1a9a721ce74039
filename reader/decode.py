"""Frames of a video by their number in display order, decoding no more of the file than they need."""

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType

import av
import numpy as np

from reader.packets import Packets, VideoError, check_file, key_frame_of, open_video, read_packets, video_stream
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
        context = stream.codec_context
        context.thread_count = 1  # videos are read in parallel, by processes
        indices = _indices(path, choose, len(packets.shown))
        frames = None
        if packets.exact:
            frames = _decode_sparsely(context, packets, set(indices))
        if frames is None:
            frames, num_frames = _decode_all(path, context, packets, set(indices))
            if num_frames != len(packets.shown):
                indices = _indices(path, choose, num_frames)
                frames, _ = _decode_all(path, context, packets, set(indices))
    return np.stack([frames[i] for i in indices])


def _decode_sparsely(context: av.VideoCodecContext, source: Packets, wanted: set[int]) -> dict[int, np.ndarray] | None:
    """The wanted frames by number, or None where what the container says about its packets proves wrong."""
    packets, keys = source.packets, source.starts()
    number_at = {packets[source.shown[n]].pts: n for n in wanted}
    positions = {source.shown[n] for n in wanted}
    # In this order a run of the decoder never meets a wanted leading picture without the group before it.
    steps = sorted((key_frame_of(packets, keys, position), position) for position in positions)
    # Frames that nothing refers to need not be decoded. HEVC with temporal layers may refer to them all the same.
    skip = "NONREF" if context.name == "h264" else "DEFAULT"
    frames: dict[int, np.ndarray] = {}

    def take(decoded: list[av.VideoFrame]) -> None:
        for frame in decoded:
            n = number_at.get(frame.pts)
            if n is not None and n not in frames and not frame.is_corrupt:
                frames[n] = _to_array(frame)

    run_start, following = 0, 0  # the run of the decoder began at and continues with these positions
    try:
        for key, position in steps:
            if key > following or following == 0:
                take(context.decode(None) if following else [])
                context.flush_buffers()
                run_start = following = key
            for i in range(following, position + 1):
                if i > run_start and packets[i].pts < packets[run_start].pts:
                    continue  # a leading picture of the run's first group
                context.skip_frame = "DEFAULT" if i in positions else skip
                take(context.decode(packets[i]))
            following = max(following, position + 1)
        take(context.decode(None))
    except av.FFmpegError:
        return None
    return frames if len(frames) == len(wanted) else None


def _decode_all(path: str, context: av.VideoCodecContext, source: Packets, wanted: set[int]) -> tuple[dict[int, np.ndarray], int]:
    """The wanted frames by number, and the number of frames, after decoding everything."""
    context.flush_buffers()
    context.skip_frame = "DEFAULT"
    frames: dict[int, np.ndarray] = {}
    count = 0
    for packet in [*source.packets, None]:
        try:
            decoded = context.decode(packet)
        except av.FFmpegError as error:
            if count == 0:
                continue
            raise VideoError(path, f"damaged: {error.strerror} after {count} frames") from error
        for frame in decoded:
            if frame.is_corrupt:
                raise VideoError(path, f"damaged: frame {count} cannot be decoded")
            if count in wanted:
                frames[count] = _to_array(frame)
            count += 1
    return frames, count


def _to_array(frame: av.VideoFrame) -> np.ndarray:
    """The frame as uint8 [H, W, 3], RGB, upright."""
    image = frame.to_ndarray(format="rgb24", threads=1)
    turns = round(frame.rotation / 90) if frame.rotation else 0
    return np.rot90(image, turns)


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

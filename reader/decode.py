"""Read frames of a video by their number in display order, decoding no more of the file than they need."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from reader import sparse
from reader.handover import checked_copy
from reader.integrity import VideoError
from reader.packets import open_video, read_packets, video_stream
from utils.errors import InputError
from utils.packages import import_cv2, import_extra

Choose = Callable[[int], Sequence[int]]
Each = Callable[[np.ndarray], np.ndarray]


def read_frames(
    path: str, choose: Choose, decoder: str = "auto", each: Each = np.copy, folder: Path | None = None
) -> np.ndarray:
    """Return the chosen frames of a video as uint8 [T, H, W, 3], RGB, rotated the way a player shows them.

    choose: given the number of frames, returns the T frame numbers (in display order), in any order, repeats allowed.
        It is called again if the true number of frames differs from what the container promised; the last answer
        counts.
    decoder: "pyav" ("auto" means the same), exact on everything it accepts; "decord" and "opencv" are optional and
        known to be wrong on some kinds of files.
    each: is applied to a frame, uint8 [H, W, 3], as soon as it is decoded, so that large frames do not pile up; the
        results are stacked. It must not keep the frame.
    folder: holds a copy of the checked stream while decord or opencv read it; None: a temporary folder.

    Raises VideoError for a file that cannot be used, IndexError for an index out of range, InputError for a decoder
    that is unknown or not installed.
    """
    if decoder not in DECODERS:
        raise InputError(f"unknown decoder {decoder!r}: expected one of {', '.join(DECODERS)}")
    return DECODERS[decoder](str(path), choose, each, folder)


def _indices(path: str, choose: Choose, num_frames: int) -> list[int]:
    if num_frames == 0:
        raise VideoError(path, "no frame could be decoded")
    indices = [int(i) for i in choose(num_frames)]
    for i in indices:
        if not 0 <= i < num_frames:
            raise IndexError(f"frame {i} of {path}, which has {num_frames}")
    return indices


def _settle(
    path: str, choose: Choose, promised: int, decode: Callable[[set[int]], tuple[dict[int, np.ndarray], int]]
) -> np.ndarray:
    """Return the chosen frames in the chosen order; choose again if `decode` finds another number than promised."""
    indices = _indices(path, choose, promised)
    frames, num_frames = decode(set(indices))
    if num_frames != promised:
        indices = _indices(path, choose, num_frames)
        frames, again = decode(set(indices))
        if again != num_frames:
            raise VideoError(path, f"it changes while it is read: it had {num_frames} frames, then {again}")
    return np.stack([frames[i] for i in indices])


def _read_pyav(path: str, choose: Choose, each: Each, folder: Path | None) -> np.ndarray:
    with open_video(path) as container:
        stream = video_stream(path, container)
        packets = read_packets(path, container, stream)
        context, convert = stream.codec_context, sparse.converter(path, each)
        return _settle(
            path, choose, len(packets.shown), lambda wanted: sparse.decode(context, packets, wanted, convert)
        )


def _read_opencv(path: str, choose: Choose, each: Each, folder: Path | None) -> np.ndarray:
    """Decode every frame: OpenCV seeks inexactly, and its frame count is only the container's promise."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet; OpenCV reads it when it opens the first video
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")  # OpenCV reads it when it is imported
    cv2 = import_cv2("decoder opencv")

    def grab(wanted: set[int]) -> tuple[dict[int, np.ndarray], int]:
        frames: dict[int, np.ndarray] = {}
        capture = cv2.VideoCapture(f"file:{copy}", cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
        count = 0
        while capture.grab():
            if count in wanted:
                retrieved, image = capture.retrieve()
                if not retrieved:
                    raise VideoError(path, f"damaged: opencv cannot decode frame {count}")
                frames[count] = each(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            count += 1
        capture.release()
        return frames, count

    with checked_copy(path, folder) as (copy, promised):
        return _settle(path, choose, promised, grab)


def _read_decord(path: str, choose: Choose, each: Each, folder: Path | None) -> np.ndarray:
    decord = import_extra("decord", "decoder decord", "requirements.txt")
    decord.logging.set_level(decord.logging.QUIET)
    with checked_copy(path, folder) as (copy, _):
        try:
            reader = decord.VideoReader(copy, ctx=decord.cpu(0), num_threads=1)
            frames = reader.get_batch(_indices(path, choose, len(reader))).asnumpy()
        except (decord.DECORDError, RuntimeError) as error:
            raise VideoError(path, "decord cannot read it") from error
    return np.stack([each(frame) for frame in frames])


DECODERS: dict[str, Callable[[str, Choose, Each, Path | None], np.ndarray]] = {
    "auto": _read_pyav,
    "pyav": _read_pyav,
    "decord": _read_decord,
    "opencv": _read_opencv,
}

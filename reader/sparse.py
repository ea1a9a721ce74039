"""From packets to frames: the wanted ones decoded with no more of the others than they need, or all of them counted."""

import itertools
from collections.abc import Callable, Collection, Iterator

import av
import numpy as np

from reader.integrity import VideoError
from reader.packets import Packets

Convert = Callable[[av.VideoFrame], np.ndarray]


def decode(
    context: av.VideoCodecContext, packets: Packets, wanted: set[int], convert: Convert
) -> tuple[dict[int, np.ndarray], int]:
    """The wanted frames, converted, by their number in display order, and the number of frames.

    Numbers that the video turns out not to have are left out. Raises VideoError for damaged videos.
    """
    if packets.exact:
        frames = _decode_sparsely(context, packets, wanted, convert)
        if frames is not None:
            return frames, len(packets.shown)
        packets.exact = False
        context.flush_buffers()
        context.skip_frame = "DEFAULT"
    frames, num_frames = {}, 0
    for num_frames, frame in enumerate(all_frames(context, packets), start=1):
        if num_frames - 1 in wanted:
            frames[num_frames - 1] = convert(frame)
    context.flush_buffers()
    return frames, num_frames


def converter(path: str, each: Callable[[np.ndarray], np.ndarray]) -> Convert:
    """What turns frames into `each`(frame as uint8 [H, W, 3], RGB, upright), all of the size of the first one.

    It raises VideoError for kinds of pixels that cannot be converted.
    """
    size: list[int] = []

    def convert(frame: av.VideoFrame) -> np.ndarray:
        size[:] = size or (frame.width, frame.height)
        try:
            image = to_rgb(frame, *size)
        except av.FFmpegError as error:
            reason = f"its {frame.format.name} frames cannot be converted: {error.strerror}"
            raise VideoError(path, reason) from error
        return each(upright(image, frame))

    return convert


def to_rgb(frame: av.VideoFrame, width: int, height: int, interpolation: str = "BILINEAR") -> np.ndarray:
    """The frame scaled to uint8 [height, width, 3], RGB: what its to_ndarray(format="rgb24") returns, not copied."""
    rgb = frame.reformat(width, height, "rgb24", interpolation=interpolation, threads=1)
    plane = rgb.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)[:, : 3 * width].reshape(height, width, 3)


class Untrue(Exception):
    """What the container says about its packets proved wrong: only decoding everything will do."""


def _decode_sparsely(
    context: av.VideoCodecContext, packets: Packets, wanted: set[int], convert: Convert
) -> dict[int, np.ndarray] | None:
    """The wanted frames, converted, by number, or None where only decoding everything will do."""
    try:
        found = frames_for(context, packets, wanted)
        return {number: convert(frame) for number, frame in found if number is not None}
    except Untrue:
        return None


def frames_for(
    context: av.VideoCodecContext, packets: Packets, wanted: Collection[int]
) -> Iterator[tuple[int | None, av.VideoFrame]]:
    """Every frame that is decoded for the sake of the wanted ones, with its number where it is one of them, ascending.

    For packets that are exact. Raises Untrue, if need be behind wrong ones.
    """
    number_at = {packets.times[packets.shown[n]]: n for n in wanted}
    positions = {packets.shown[n] for n in wanted}
    skip = "NONREF" if _marks_unreferenced_frames(context) else "DEFAULT"
    never_reordered = packets.shown == sorted(packets.shown)
    found = 0
    start_time = latest = None  # presentation times: where the current run began, and of its last frame so far

    def take(packet: av.Packet | None) -> Iterator[tuple[int | None, av.VideoFrame]]:
        nonlocal found, latest
        for frame in context.decode(packet):
            in_order = frame.pts is not None and (latest is None or frame.pts > latest)
            fields_apart = packets.broadcast and frame.interlaced_frame  # the two fields of a frame can be two packets
            if not in_order or fields_apart or _is_damaged(frame, packets):
                raise Untrue
            latest = frame.pts
            number = number_at.get(frame.pts)
            found += number is not None
            yield number, frame
        if never_reordered and context.has_b_frames:
            raise Untrue  # the codec reorders frames, the timestamps do not: a container that was never told

    try:
        runs = _runs(packets, positions)
        starts = {first for first, _ in runs}
        for i, packet in packets.read(runs):
            if i in starts:
                if start_time is not None:
                    yield from take(None)
                    context.flush_buffers()
                latest, start_time = None, packet.pts
            elif packet.pts < start_time:
                continue  # a leading picture of the first group: wanted ones are part of an earlier run
            context.skip_frame = "DEFAULT" if i in positions else skip
            yield from take(packet)
        yield from take(None)
    except av.FFmpegError:
        raise Untrue from None
    if found != len(wanted):
        raise Untrue


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


def all_frames(context: av.VideoCodecContext, packets: Packets) -> Iterator[av.VideoFrame]:
    """Every frame in display order. Raises VideoError where one is damaged."""
    count = 0
    for i, packet in itertools.chain(packets.read([(0, len(packets) - 1)]), [(None, None)]):
        try:
            decoded = context.decode(packet)
        except av.FFmpegError as error:
            if count == 0 and packets.may_lack_references(i):
                continue
            raise VideoError(packets.path, f"damaged: frame {count} or one near it cannot be decoded") from error
        for frame in decoded:
            if _is_damaged(frame, packets):
                raise VideoError(packets.path, f"damaged: frame {count} is not whole")
            yield frame
            count += 1


def _is_damaged(frame: av.VideoFrame, packets: Packets) -> bool:
    """Whether parts of the frame could not be decoded. A broadcast recording can end in the middle of a frame."""
    return frame.is_corrupt and not (packets.broadcast and frame.pts == packets.times[-1])


def upright(image: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """The image turned and mirrored the way the display matrix of its frame says."""
    if not frame.rotation:
        return image
    try:
        matrix = np.frombuffer(frame.side_data["DISPLAYMATRIX"], np.int32)
    except ValueError:  # PyAV does not know one of the kinds of side data, and then shows none
        return np.rot90(image, round(frame.rotation / 90))
    # Rows (a, b, u), (c, d, v), (x, y, w): x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 8.3.2).
    a, b, _, c, d = matrix[:5].tolist()
    if abs(b) > abs(a):
        image, right, down = image.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]

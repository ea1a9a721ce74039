"""From packets to frames: the wanted ones decoded with no more of the others than they need, or all of them counted."""

import gc
import itertools
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from fractions import Fraction

import av
import numpy as np

from reader.integrity import VideoError
from reader.packets import Packets

Convert = Callable[[av.VideoFrame], np.ndarray]

# Pixels of frames that may be out of reach and still there, of 1.5 bytes in most videos; and how many are.
_MOST_PIXELS = 32 << 20
_unreachable = 0


def decode(
    context: av.VideoCodecContext, packets: Packets, wanted: set[int], convert: Convert
) -> tuple[dict[int, np.ndarray], int]:
    """Return the wanted frames, converted, by their number in display order, and the number of frames.

    Numbers that the video turns out not to have are left out. Raises VideoError for damaged videos.
    """
    if packets.exact:
        frames = _decode_sparsely(context, packets, wanted, convert)
        if frames is not None:
            return frames, len(packets.shown)
        packets.exact = False
    frames, num_frames = {}, 0
    for num_frames, frame in enumerate(all_frames(packets), start=1):
        if num_frames - 1 in wanted:
            frames[num_frames - 1] = convert(frame)
    return frames, num_frames


def converter(path: str, each: Callable[[np.ndarray], np.ndarray]) -> Convert:
    """Return what turns frames into `each`(frame as uint8 [H, W, 3], RGB, upright), all of the first one's shown size.

    It raises VideoError for kinds of pixels that cannot be converted.
    """
    size: list[int] = []

    def convert(frame: av.VideoFrame) -> np.ndarray:
        size[:] = size or shown_size(frame)
        try:
            image = as_shown(frame, *size)
        except av.FFmpegError as error:
            reason = f"its {frame.format.name} frames cannot be converted: {error.strerror}"
            raise VideoError(path, reason) from error
        return each(image)

    return convert


def to_rgb(frame: av.VideoFrame, width: int, height: int, interpolation: str = "BILINEAR") -> np.ndarray:
    """Return the frame scaled to uint8 [height, width, 3], RGB.

    What its to_ndarray(format="rgb24") returns, not copied.
    """
    rgb = frame.reformat(width, height, "rgb24", interpolation=interpolation, threads=1)
    plane = rgb.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)[:, : 3 * width].reshape(height, width, 3)


class Untrue(Exception):
    """What the container says about its packets proved wrong: only decoding everything will do."""


def _decode_sparsely(
    context: av.VideoCodecContext, packets: Packets, wanted: set[int], convert: Convert
) -> dict[int, np.ndarray] | None:
    """Return the wanted frames, converted, by number, or None where only decoding everything will do."""
    try:
        found = frames_for(context, packets, wanted)
        return {number: convert(frame) for number, frame in found if number is not None}
    except Untrue:
        return None


def frames_for(
    context: av.VideoCodecContext, packets: Packets, wanted: Collection[int]
) -> Iterator[tuple[int | None, av.VideoFrame]]:
    """Yield every frame that is decoded for the wanted ones, with its number where it is one of them, ascending.

    For packets that are exact. Raises Untrue, if need be behind wrong ones.
    """
    number_at = {packets.times[packets.shown[n]]: n for n in wanted}
    positions = {packets.shown[n] for n in wanted}
    runs = _runs(packets, positions)
    starts = [first for first, _ in runs]
    found = 0
    try:
        # Read in one go forward, as a file may have to be opened for it.
        for _, run in itertools.groupby(packets.read(runs), lambda item: bisect_right(starts, item[0])):
            for frame in _decode_run(context, packets, run, positions):
                number = number_at.get(frame.pts)
                found += number is not None
                yield number, frame
    except av.FFmpegError:
        raise Untrue from None
    if found != len(wanted):
        raise Untrue


def _decode_run(
    context: av.VideoCodecContext, packets: Packets, run: Iterable[tuple[int, av.Packet]], positions: set[int]
) -> Iterator[av.VideoFrame]:
    """Yield the frames of (position, packet) from a key frame on: those at `positions`, and what they refer to.

    They come in ascending order. Raises Untrue for one that is not where its packet says, or is damaged.
    """
    skip = "NONREF" if _marks_unreferenced_frames(context) else "DEFAULT"
    never_reordered = packets.shown == sorted(packets.shown)
    key_time = latest = None  # presentation times: of the key frame, and of the last frame so far
    for i, packet in itertools.chain(run, [(None, None)]):  # None has the decoder give what it still holds
        if packet is not None:
            key_time = packet.pts if key_time is None else key_time
            if packet.pts < key_time:
                continue  # a leading picture of the first group: wanted ones are part of an earlier run
            context.skip_frame = "DEFAULT" if i in positions else skip
        for frame in context.decode(packet):
            in_order = frame.pts is not None and (latest is None or frame.pts > latest)
            fields_apart = packets.broadcast and frame.interlaced_frame  # the two fields of a frame can be two packets
            if not in_order or fields_apart or _is_damaged(frame, packets):
                raise Untrue
            latest = frame.pts
            yield frame
        if never_reordered and context.has_b_frames:
            raise Untrue  # the codec reorders frames, the timestamps do not: a container that was never told
    context.flush_buffers()


def _marks_unreferenced_frames(context: av.VideoCodecContext) -> bool:
    """Return whether the frames that the codec marks as referred to by no other are so, and need not be decoded.

    HEVC means no other of the same temporal layer: one layer it must be (ISO/IEC 14496-15, 8.3.3.1).
    """
    setup = context.extradata or b""
    one_layer = len(setup) > 21 and setup[0] == 1 and setup[21] >> 3 & 7 == 1
    return context.name == "h264" or (context.name == "hevc" and one_layer)


def _runs(packets: Packets, positions: set[int]) -> list[tuple[int, int]]:
    """Return which packets to decode for those at `positions`: (first, last), ascending, each from a key frame on."""
    runs: list[tuple[int, int]] = []
    for key, position in sorted((packets.key_frame_of(position), position) for position in positions):
        if runs and key <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(runs[-1][1], position))
        else:
            runs.append((key, position))
    return runs


def all_frames(packets: Packets) -> Iterator[av.VideoFrame]:
    """Yield every frame in display order, the same ones each time. Raises VideoError where one is damaged."""
    decoder = packets.new_decoder()
    count, halved, last = 0, None, False
    for i, packet in itertools.chain(packets.read([(0, len(packets) - 1)]), [(None, None)]):
        try:
            decoded = decoder.decode(packet)
        except av.FFmpegError as error:
            if count == 0 and packets.may_lack_references(i):
                continue
            raise VideoError(packets.path, f"damaged: frame {count} or one near it cannot be decoded") from error
        for frame in decoded:
            if frame.is_corrupt and _may_be_halved(frame, packets):
                halved = count
            elif _is_damaged(frame, packets):
                raise VideoError(packets.path, f"damaged: frame {count} is not whole")
            last = last or frame.pts == packets.times[-1]
            yield frame
            count += 1
    if halved is not None and last:  # the last packet was a frame of its own, not the other field
        raise VideoError(packets.path, f"damaged: frame {halved} is not whole")


def _is_damaged(frame: av.VideoFrame, packets: Packets) -> bool:
    """Return whether parts of the frame could not be decoded. A broadcast recording can end in the midst of a frame."""
    return frame.is_corrupt and not (packets.broadcast and frame.pts == packets.times[-1])


def _may_be_halved(frame: av.VideoFrame, packets: Packets) -> bool:
    """Return whether the frame's second field may be in a broadcast recording's last packet, which can be cut off."""
    return packets.broadcast and frame.interlaced_frame and frame.pts in packets.times[-2:-1]


def shown_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Return the width and height of the frame as a player shows it."""
    turned, _, _ = _orientation(frame)
    return (frame.height, frame.width) if turned else (frame.width, frame.height)


def as_shown(frame: av.VideoFrame, width: int, height: int, interpolation: str = "BILINEAR") -> np.ndarray:
    """Return the frame scaled to uint8 [height, width, 3], RGB, turned and mirrored the way its display matrix says."""
    turned, right, down = _orientation(frame)  # in broadcasts it can change on the way
    image = to_rgb(frame, *((height, width) if turned else (width, height)), interpolation)
    image = image.swapaxes(0, 1) if turned else image
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def pixel_shape(packets: Packets, frame: av.VideoFrame) -> Fraction:
    """Return width / height of the pixels of a decoded frame as they are shown: 1 where they are square."""
    turned, _, _ = _orientation(frame)
    return 1 / packets.pixel_shape() if turned else packets.pixel_shape()


def _orientation(frame: av.VideoFrame) -> tuple[bool, int, int]:
    """Return (rows are shown as columns, then which way they run: negative is to the left, negative is upwards)."""
    _let_go_of_others(frame)
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know one of the kinds of side data, and then shows none
        return ((False, 1, 1), (True, 1, -1), (False, -1, -1), (True, -1, 1))[round(frame.rotation / 90) % 4]
    if data is None:
        return False, 1, 1
    # Rows (a, b, u), (c, d, v), (x, y, w): x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 8.3.2).
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return (True, c, b) if abs(b) > abs(a) else (False, a, d)


def _let_go_of_others(frame: av.VideoFrame) -> None:
    """Have Python look for circles, once in so many pixels: a frame and the list of its side data hold each other.

    By itself it looks once in so many objects, however large they are: 230 frames of 4K take 3 GB.
    """
    global _unreachable
    _unreachable += frame.width * frame.height
    if _unreachable > _MOST_PIXELS:
        gc.collect()
        _unreachable = 0

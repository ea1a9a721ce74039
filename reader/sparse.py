"""From packets to frames: decode the wanted frames and only what these depend on, or decode and count all."""

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

# Most pixels that unreachable frames may hold in memory (1.5 bytes each in most videos), and the count so far.
_MOST_PIXELS = 32 << 20
_unreachable = 0


def decode(
    context: av.VideoCodecContext, packets: Packets, wanted: set[int], convert: Convert
) -> tuple[dict[int, np.ndarray], int]:
    """Return the wanted frames, converted, by their number in display order, and the video's number of frames.

    Wanted numbers beyond the last frame are left out. Raises VideoError for damaged videos.
    """
    if packets.exact:
        try:
            found = frames_for(context, packets, wanted)
            return {number: convert(frame) for number, frame in found if number is not None}, len(packets.shown)
        except Untrue:
            packets.exact = False
    frames, num_frames = {}, 0
    for num_frames, frame in enumerate(all_frames(packets), start=1):
        if num_frames - 1 in wanted:
            frames[num_frames - 1] = convert(frame)
    return frames, num_frames


def converter(path: str, each: Callable[[np.ndarray], np.ndarray]) -> Convert:
    """Return a function that turns a decoded frame into `each`(uint8 [H, W, 3], RGB, upright).

    All frames get the shown size of the first one. The function raises VideoError for pixel formats that cannot be
    converted.
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


class Untrue(Exception):
    """The container's claims about its packets proved wrong: everything must be decoded."""


def frames_for(
    context: av.VideoCodecContext, packets: Packets, wanted: Collection[int]
) -> Iterator[tuple[int | None, av.VideoFrame]]:
    """Yield (number, frame) for every frame that is decoded, ascending; the number is None for frames not wanted.

    `packets` must be exact. Raises Untrue, possibly after wrong frames were yielded.
    """
    number_at = {packets.times[packets.shown[n]]: n for n in wanted}
    positions = {packets.shown[n] for n in wanted}
    runs = _runs(packets, positions)
    starts = [first for first, _ in runs]
    found = 0
    try:
        # Read all runs in one pass forward, because this may open the file.
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
    """Yield the frames of (position, packet) from a key frame on: those at `positions`, and those they refer to.

    Frames come in ascending order. Raises Untrue for a frame that is damaged or not where its packet says.
    """
    skip = "NONREF" if _marks_unreferenced_frames(context) else "DEFAULT"
    never_reordered = packets.shown == sorted(packets.shown)
    key_time = latest = None  # presentation times: of the key frame, and of the last frame so far
    for i, packet in itertools.chain(run, [(None, None)]):  # None makes the decoder return the frames it still holds
        if packet is not None:
            key_time = packet.pts if key_time is None else key_time
            if packet.pts < key_time:
                continue  # a leading picture of the first group: if it is wanted, an earlier run decodes it
            context.skip_frame = "DEFAULT" if i in positions else skip
        for frame in context.decode(packet):
            in_order = frame.pts is not None and (latest is None or frame.pts > latest)
            fields_apart = packets.broadcast and frame.interlaced_frame  # the two fields of a frame can be two packets
            if not in_order or fields_apart or _is_damaged(frame, packets):
                raise Untrue
            latest = frame.pts
            yield frame
        if never_reordered and context.has_b_frames:
            raise Untrue  # the codec reorders frames but the timestamps do not: the muxer did not know of reordering
    context.flush_buffers()


def _marks_unreferenced_frames(context: av.VideoCodecContext) -> bool:
    """Return whether frames that the codec marks as unreferenced really are, so that they need not be decoded.

    In HEVC the mark holds only within one temporal layer, so there must be one layer (ISO/IEC 14496-15, 8.3.3.1).
    """
    setup = context.extradata or b""
    one_layer = len(setup) > 21 and setup[0] == 1 and setup[21] >> 3 & 7 == 1
    return context.name == "h264" or (context.name == "hevc" and one_layer)


def _runs(packets: Packets, positions: set[int]) -> list[tuple[int, int]]:
    """Return the ranges of packets to decode for `positions`: (first, last), ascending, each from a key frame on."""
    runs: list[tuple[int, int]] = []
    for key, position in sorted((packets.key_frame_of(position), position) for position in positions):
        if runs and key <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(runs[-1][1], position))
        else:
            runs.append((key, position))
    return runs


def all_frames(packets: Packets) -> Iterator[av.VideoFrame]:
    """Yield every frame in display order, the same frames at every call. Raises VideoError if one is damaged."""
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
    """Return whether parts of the frame could not be decoded. A broadcast recording may end in mid-frame."""
    return frame.is_corrupt and not (packets.broadcast and frame.pts == packets.times[-1])


def _may_be_halved(frame: av.VideoFrame, packets: Packets) -> bool:
    """Return whether the frame's second field may be in the last packet of a broadcast recording, which may be cut."""
    return packets.broadcast and frame.interlaced_frame and frame.pts in packets.times[-2:-1]


def shown_size(frame: av.VideoFrame) -> tuple[int, int]:
    """Return the width and height of the frame as a player shows it."""
    turned, _, _ = _orientation(frame)
    return (frame.height, frame.width) if turned else (frame.width, frame.height)


def as_shown(frame: av.VideoFrame, width: int, height: int, interpolation: str = "BILINEAR") -> np.ndarray:
    """Return the frame scaled to uint8 [height, width, 3], RGB, rotated and mirrored as its display matrix says."""
    turned, right, down = _orientation(frame)  # for each frame: in broadcasts it can change
    stored_width, stored_height = (height, width) if turned else (width, height)
    rgb = frame.reformat(stored_width, stored_height, "rgb24", interpolation=interpolation, threads=1)
    rows = np.frombuffer(rgb.planes[0], np.uint8).reshape(stored_height, -1)  # unlike to_ndarray, without a copy
    image = rows[:, : 3 * stored_width].reshape(stored_height, stored_width, 3)
    image = image.swapaxes(0, 1) if turned else image
    return image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]


def pixel_shape(packets: Packets, frame: av.VideoFrame) -> Fraction:
    """Return width / height of the pixels of a decoded frame as shown; 1 means square."""
    turned, _, _ = _orientation(frame)
    return 1 / packets.pixel_shape() if turned else packets.pixel_shape()


def _orientation(frame: av.VideoFrame) -> tuple[bool, int, int]:
    """Return (whether rows are shown as columns, right, down): negative means to the left, or upwards."""
    _let_go_of_others(frame)
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV does not know one of the kinds of side data, and then returns none of them
        return ((False, 1, 1), (True, 1, -1), (False, -1, -1), (True, -1, 1))[round(frame.rotation / 90) % 4]
    if data is None:
        return False, 1, 1
    # Rows (a, b, u), (c, d, v), (x, y, w): x' = a x + c y, y' = b x + d y (ISO/IEC 14496-12, 8.3.2).
    a, b, _, c, d = np.frombuffer(data, np.int32)[:5].tolist()
    return (True, c, b) if abs(b) > abs(a) else (False, a, d)


def _let_go_of_others(frame: av.VideoFrame) -> None:
    """Run Python's garbage collector once every _MOST_PIXELS: a frame and its side data reference each other.

    By itself Python counts objects and not their size: 230 frames of 4K, 3 GB, would pile up.
    """
    global _unreachable
    _unreachable += frame.width * frame.height
    if _unreachable > _MOST_PIXELS:
        gc.collect()
        _unreachable = 0

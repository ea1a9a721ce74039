"""Make the small videos of tests/fixtures: `python tests/make_fixtures.py`.

Every frame shows its number as eight large black or white blocks, which `read_number` reads despite any compression.
The files are committed because encoders differ between builds of FFmpeg, and tests need the same bytes everywhere.
"""

import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FIXTURES = Path(__file__).parent / "fixtures"
NUM_FRAMES = 60
RATE = 25
WIDTH, HEIGHT = 64, 48
X264 = {"preset": "medium", "crf": "30", "threads": "1"}
X264_STEADY = "keyint=20:min-keyint=20:scenecut=0:bframes=3:b-pyramid=normal:b-adapt=0"
X265_STEADY = "log-level=none:pools=none:frame-threads=1:keyint=20:min-keyint=20:scenecut=0:bframes=3"


def paint(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Paint frame `number` (0 to 255), uint8 [height, width, 3]: 4 x 2 blocks, lowest bit first, on a gradient."""
    y, x = np.mgrid[:height, :width]
    frame = np.stack([(x * 3 + number * 5) % 256, (y * 4 + number * 2) % 256, (x + y + number * 7) % 256], axis=-1) // 2
    for bit in range(8):
        row, column = divmod(bit, 4)
        top, left = row * height // 2, column * width // 4
        bottom, right = (row + 1) * height // 2, (column + 1) * width // 4
        frame[top + 4 : bottom - 4, left + 3 : right - 3] = 255 * (number >> bit & 1)
    return frame.astype(np.uint8)


def read_number(frame: np.ndarray) -> int:
    """Return the number painted in a frame, uint8 [H, W, 3]."""
    height, width = frame.shape[:2]
    number = 0
    for bit in range(8):
        row, column = divmod(bit, 4)
        centre = frame[(2 * row + 1) * height // 4 - 3 :, (2 * column + 1) * width // 8 - 2 :][:6, :4]
        number |= int(centre.mean() > 127) << bit
    return number


def copy_packets(
    source: av.container.InputContainer, out: av.container.OutputContainer, stream: av.VideoStream
) -> None:
    """Copy the packets of the first video stream of `source` to `stream`, which belongs to `out`."""
    for packet in source.demux(video=0):
        if packet.size:
            packet.stream = stream
            out.mux(packet)


def encode_numbers(
    out: av.container.OutputContainer,
    stream: av.VideoStream,
    times: Iterable[int] = range(NUM_FRAMES),
    rate: Fraction | int = RATE,
) -> None:
    """Encode numbered frames of the stream's size to `stream`, frame i at times[i] / rate seconds, and flush it."""
    for number, time in enumerate(times):
        frame = av.VideoFrame.from_ndarray(paint(number, stream.width, stream.height), format="rgb24")
        frame.pts, frame.time_base = time, 1 / Fraction(rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def encode(
    name: str,
    codec: str,
    *,
    options: dict[str, str] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    pixels: str = "yuv420p",
    times: Iterable[int] = range(NUM_FRAMES),
    rotation: int = 0,
    container_options: dict[str, str] | None = None,
    rate_control: bool = True,
) -> None:
    """Write NUM_FRAMES numbered frames to fixtures/`name`, frame i at times[i]/RATE seconds."""
    with av.open(str(FIXTURES / name), "w", container_options=container_options or {}) as out:
        out.flags |= av.container.core.Flags.bitexact.value
        stream = out.add_stream(codec, rate=RATE, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.bit_rate = 60_000 if rate_control else 0
        if rotation:
            stream.set_display_rotation(rotation)
        encode_numbers(out, stream, times)


def remux(
    source: str,
    name: str,
    keep: Callable[[int, av.Packet], bool] = lambda i, packet: True,
    shift: int = 0,
    container_options: dict[str, str] | None = None,
) -> None:
    """Copy those packets of fixtures/`source` that `keep` wants to fixtures/`name`, `shift` frames earlier."""
    path, options = str(FIXTURES / name), container_options or {}
    with av.open(str(FIXTURES / source)) as src, av.open(path, "w", container_options=options) as out:
        out.flags |= av.container.core.Flags.bitexact.value
        stream = out.add_stream_from_template(src.streams.video[0])
        for i, packet in enumerate(src.demux(video=0)):
            if packet.size and keep(i, packet):
                back = round(shift / RATE / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - back, packet.dts - back, stream
                out.mux(packet)


def h264(**more: object) -> dict[str, str]:
    """Return the options of libx264: B-frames, a key frame every 20 frames, and `more` of its own parameters."""
    extra = "".join(f":{key.replace('_', '-')}={value}" for key, value in more.items())
    return {**X264, "x264-params": X264_STEADY + extra}


def h265(more: str) -> dict[str, str]:
    """Return the options of libx265, with `more` of its own parameters."""
    return {"crf": "30", "x265-params": f"{X265_STEADY}:{more}"}


def first_key_after(source: str, start: int) -> int:
    """Return the position of the first key packet of fixtures/`source` from `start` on."""
    with av.open(str(FIXTURES / source)) as src:
        return next(i for i, packet in enumerate(src.demux(video=0)) if i >= start and packet.is_keyframe)


def mux_together(name: str, sources: list[str], cover: bool = False) -> None:
    """Write the video streams of several fixtures to one file, after a cover picture if wanted."""
    inputs = [av.open(str(FIXTURES / source)) for source in sources]
    with av.open(str(FIXTURES / name), "w") as out:
        out.flags |= av.container.core.Flags.bitexact.value
        if cover:
            picture = out.add_stream("png")
            picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "rgb24"
            picture.disposition = av.stream.Disposition.attached_pic
        streams = [out.add_stream_from_template(source.streams.video[0]) for source in inputs]
        if cover:
            out.mux(picture.encode(av.VideoFrame.from_ndarray(paint(255), format="rgb24")))
        for source, stream in zip(inputs, streams):
            copy_packets(source, out, stream)
            source.close()


def still_first(path: Path) -> None:
    """Write a thumbnail as the first track, then h264.mp4, which is the default."""
    with av.open(str(FIXTURES / "h264.mp4")) as source, av.open(str(path), "w") as out:
        still = out.add_stream("mjpeg", rate=1)
        still.width, still.height, still.pix_fmt = 32, 24, "yuvj420p"
        video = out.add_stream_from_template(source.streams.video[0])
        video.disposition = av.stream.Disposition.default
        out.mux(still.encode(av.VideoFrame.from_ndarray(paint(200, 32, 24), format="rgb24")))
        copy_packets(source, out, video)


def audio_only(name: str) -> None:
    """Write a second of silence."""
    with av.open(str(FIXTURES / name), "w") as out:
        out.flags |= av.container.core.Flags.bitexact.value
        stream = out.add_stream("aac", rate=8000)
        for start in range(0, 8000, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, start
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


MPEG4 = {"bf": "2", "g": "20", "qmin": "4", "qmax": "10"}
VP9 = {"deadline": "realtime", "cpu-used": "6", "auto-alt-ref": "1", "lag-in-frames": "19", "g": "20"}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}

# In this order, because some are made from others.
MAKERS: dict[str, Callable[[str], None]] = {
    "h264.mp4": lambda name: encode(name, "libx264", options=h264()),
    "faststart.mp4": lambda name: remux("h264.mp4", name, container_options={"movflags": "faststart"}),
    "fragmented.mp4": lambda name: remux("h264.mp4", name, container_options=FRAGMENTS),
    "open_gop.mp4": lambda name: encode(name, "libx264", options=h264(open_gop=1)),
    "open_gop_cut.mkv": lambda name: remux("open_gop.mp4", name, lambda i, _: i >= first_key_after("open_gop.mp4", 5)),
    "vfr.mp4": lambda name: encode(name, "libx264", options=h264(), times=[i + i // 3 * 2 for i in range(NUM_FRAMES)]),
    "edit_list.mp4": lambda name: remux("h264.mp4", name, shift=8),
    "rotated_90.mp4": lambda name: encode(name, "libx264", options=h264(), rotation=90),
    "rotated_180.mp4": lambda name: encode(name, "libx264", options=h264(), rotation=180),
    "rotated_270.mp4": lambda name: encode(name, "libx264", options=h264(), rotation=270),
    "odd_444.mp4": lambda name: encode(name, "libx264", options=h264(), pixels="yuv444p", size=(67, 49)),
    "ten_bit.mp4": lambda name: encode(name, "libx264", options=h264(), pixels="yuv420p10le"),
    "gray.mkv": lambda name: encode(name, "ffv1", pixels="gray", options={"g": "20", "coder": "1"}),
    "interlaced.mp4": lambda name: encode(name, "libx264", options=h264(tff=1)),
    "intra_refresh.mp4": lambda name: encode(name, "libx264", options=h264(intra_refresh=1)),
    "h264.ts": lambda name: remux("h264.mp4", name),
    "mid_gop.ts": lambda name: remux("h264.ts", name, lambda i, _: i >= 7),
    "h264.mkv": lambda name: remux("h264.mp4", name),
    "h264.avi": lambda name: encode(name, "libx264", options=h264()),
    "h264.flv": lambda name: remux("h264.mp4", name),
    "two_videos.mkv": lambda name: mux_together(name, ["vfr.mp4", "h264.mp4"]),
    "cover.mp4": lambda name: mux_together(name, ["h264.mp4"], cover=True),
    "mpeg4.avi": lambda name: encode(name, "mpeg4", options=MPEG4),
    "mpeg4.mp4": lambda name: remux("mpeg4.avi", name),
    "mpeg2.ts": lambda name: encode(name, "mpeg2video", options=MPEG4),
    "mjpeg.avi": lambda name: encode(name, "mjpeg", pixels="yuvj420p", options={"qmin": "12", "qmax": "20"}),
    "hevc.mp4": lambda name: encode(name, "libx265", options=h265("open-gop=0")),
    "hevc_open_gop.mkv": lambda name: encode(name, "libx265", options=h265("open-gop=1")),
    "hevc_layers.mp4": lambda name: encode(name, "libx265", options=h265("temporal-layers=3")),
    "vp9.webm": lambda name: encode(name, "libvpx-vp9", options=VP9),
    "vp9_odd.webm": lambda name: encode(name, "libvpx-vp9", options=VP9, size=(67, 49)),
    "vp8.webm": lambda name: encode(name, "libvpx", options={"deadline": "realtime", "cpu-used": "4", "g": "20"}),
    "av1.mp4": lambda name: encode(
        name, "libsvtav1", options={"g": "20", "crf": "45", "preset": "8"}, rate_control=False
    ),
    "large.ts": lambda name: encode(name, "libx264", options=h264(), size=(128, 96)),
    "audio_only.mp4": audio_only,
}


def main() -> None:
    FIXTURES.mkdir(exist_ok=True)
    os.environ["SVT_LOG"] = "0"
    for name, make in MAKERS.items():
        make(name)
        print(f"{name} {(FIXTURES / name).stat().st_size} bytes")


if __name__ == "__main__":
    main()

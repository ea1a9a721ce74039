"""Labelled copies of real videos: size, times, sound, place of the box; captions for every kind of name."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from conftest import make_clip, synthetic_frames
from make_fixtures import FIXTURES
from reader.integrity import VideoError
from results.pages import caption
from results.pages.annotated_video import _Captions, _enlarged, label_video
from results.pages.caption import Caption

BEST = [
    {"class_id": k, "label": label, "probability": p}
    for k, (label, p) in enumerate([("opening a door", 0.7), ("waving", 0.2), ("walking", 0.1), ("running", 0.0)])
]
OTHER = [{"class_id": 3, "label": "WWWWWWWWWWWWWW", "probability": 1.0}]
ALL = [(0.0, float("inf"), BEST)]


def labelled(path: Path, folder: Path, cues=ALL) -> Path:
    target = folder / "out.mp4"
    signs = list(label_video(str(path), str(target), cues))
    assert all(sign is None or 0 <= sign <= 100 for sign in signs)  # None or percent
    return target


def frames_of(path: Path) -> tuple[np.ndarray, list[float]]:
    """Return (uint8 [N, H, W, 3], seconds)."""
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [frame.time for frame in frames]


def with_sound(path: Path, codec: str, rate: int, delay: float = 0.0, silence: float = 0.0) -> Path:
    """Write a fixture's pictures, starting after `delay` seconds, with 2.4 s of sound that may begin with silence."""
    layout, kind = "mono", path.suffix[1:]
    with (
        av.open(str(FIXTURES / "h264.mp4")) as source,
        av.open(str(path), "w", format={"mkv": "matroska"}.get(kind, kind)) as out,
    ):
        pictures = out.add_stream_from_template(source.streams.video[0])
        sound = out.add_stream(codec, rate=rate)
        sound.codec_context.layout = layout
        for packet in source.demux(video=0):
            if packet.size:
                later = round(delay / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts + later, packet.dts + later, pictures
                out.mux(packet)
        wave = (8000 * np.sin(np.arange(int(2.4 * rate)) / 10)).astype(np.int16)
        wave[: int(silence * rate)] = 0
        frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(
    "name, size, number",
    [
        ("h264.mp4", (320, 240), 60),
        ("rotated_90.mp4", (240, 320), 60),
        ("odd_444.mp4", (336, 246), 60),  # 67x49, five times, and even
        ("vfr.mp4", (320, 240), 60),
        ("h264.avi", (320, 240), 60),
        ("mpeg2.ts", (320, 240), 60),
        ("edit_list.mp4", (320, 240), 52),
        ("hevc_open_gop.mkv", (320, 240), 60),
    ],
)
def test_pictures(tmp_path, name, size, number):
    target = labelled(FIXTURES / name, tmp_path)
    with av.open(str(target)) as file:
        [stream] = file.streams
        context = stream.codec_context
        assert (context.name, context.pix_fmt, (context.width, context.height)) == ("h264", "yuv420p", size)
        assert context.profile != "High 4:4:4 Predictive"
    frames, times = frames_of(target)
    assert len(frames) == number and times[0] == 0
    if name == "vfr.mp4":
        assert times == pytest.approx([(i + i // 3 * 2) / 25 for i in range(60)], abs=1e-3)
    else:
        assert times == pytest.approx([i / 25 for i in range(number)], abs=1e-3)
    data = target.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can start before it has the whole file


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux has it")
@pytest.mark.parametrize("width, height", [(9, 13), (17, 13), (23, 29), (67, 49), (45, 121), (301, 3)])
def test_the_bytes_are_the_same_in_each_run_on_any_number_of_cores(tmp_path, width, height):
    """The clip fades in, and has a size that is no multiple of a block."""
    picture = synthetic_frames(0, 0, 1, max(height, 24), max(width, 24))[0, :height, :width]
    make_clip(tmp_path / "clip.mp4", np.stack([(picture * (i / 15)).astype(np.uint8) for i in range(16)]))
    cores, found = os.sched_getaffinity(0), set()
    try:
        for some in (cores, {min(cores)}, cores):
            os.sched_setaffinity(0, some)
            found.add(labelled(tmp_path / "clip.mp4", tmp_path).read_bytes())
    finally:
        os.sched_setaffinity(0, cores)
    assert len(found) == 1


def test_a_relative_folder_may_have_a_colon(tmp_path, monkeypatch):
    """FFmpeg would take `10:` for a protocol."""
    monkeypatch.chdir(tmp_path)
    Path("10:30").mkdir()
    assert frames_of(labelled(FIXTURES / "h264.mp4", Path("10:30")).absolute())[0].shape == (60, 240, 320, 3)


def test_pictures_are_the_clips_and_the_box_is_in_the_corner(tmp_path):
    with av.open(str(FIXTURES / "rotated_90.mp4")) as file:
        before = [np.rot90(frame.to_ndarray(format="rgb24")) for frame in file.decode(video=0)]
    after, _ = frames_of(labelled(FIXTURES / "rotated_90.mp4", tmp_path))
    for number in (0, 30, 59):
        small = after[number].reshape(64, 5, 48, 5, 3).mean(axis=(1, 3))
        difference = np.abs(small - before[number]).mean(axis=2)
        assert difference[:40].mean() < 10
    moves = np.ptp(after.astype(int), axis=0).mean(axis=2)
    assert moves[255:315, 10:100].mean() < moves[:200].mean() / 2  # the box lets little through


def test_a_name_with_a_colon_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("10:30").mkdir()
    assert labelled(FIXTURES / "h264.mp4", Path("10:30")).stat().st_size > 1000


def test_a_mirrored_clip_is_mirrored(tmp_path):
    data = bytearray((FIXTURES / "rotated_180.mp4").read_bytes())
    at = data.index((-(1 << 16)).to_bytes(4, "big", signed=True))  # a, of the display matrix (a, b, u, c, d)
    data[at : at + 4] = (1 << 16).to_bytes(4, "big")  # only upside down
    (tmp_path / "mirrored.mp4").write_bytes(data)
    after, _ = frames_of(labelled(tmp_path / "mirrored.mp4", tmp_path))
    before, _ = frames_of(FIXTURES / "h264.mp4")
    small = after[30].reshape(48, 5, 64, 5, 3).mean(axis=(1, 3))
    assert np.abs(small - before[30, ::-1])[:24].mean() < 10


def test_each_window_has_its_caption_and_gaps_have_none():
    image = np.zeros((240, 320, 3), np.uint8)
    captions = _Captions([(0.0, 1.0, BEST), (1.4, 2.4, OTHER)])
    first = captions.at(0.0, image)
    assert captions.at(0.99, image) is first
    assert captions.at(1.0, image) is captions.at(1.39, image) is None
    second = captions.at(1.4, image)
    assert second is not first and captions.at(9.0, image) is second  # the last caption stays to the end
    second.put(image)
    assert image.any()


@pytest.mark.parametrize(
    "name, codec, copied",
    [("a.mp4", "aac", True), ("a.mkv", "libmp3lame", True), ("a.mkv", "libopus", True), ("a.mkv", "pcm_s16le", False),
     ("a.mkv", "ac3", False)],
)  # fmt: skip
def test_sound_is_kept(tmp_path, name, codec, copied):
    source = with_sound(tmp_path / name, codec, rate=48_000)
    target = labelled(source, tmp_path)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        old, new = before.streams.audio[0], after.streams.audio[0]
        assert new.codec_context.name == (old.codec_context.name if copied else "aac")
        assert float(new.duration * new.time_base) == pytest.approx(2.4, abs=0.1)
        if copied:
            same = [{bytes(p) for p in file.demux(audio=0) if p.size} for file in (before, after)]
            assert same[0] == same[1]
        else:
            samples = np.concatenate([frame.to_ndarray()[0] for frame in after.decode(audio=0)])
            loud = np.flatnonzero(np.abs(samples) > 0.1)
            assert loud[0] < 0.1 * 48_000 and loud[-1] > 2.2 * 48_000


@pytest.mark.parametrize("codec", ["libmp3lame", "pcm_s16le"])
def test_sound_stays_in_step_if_the_pictures_begin_later(tmp_path, codec):
    source = with_sound(tmp_path / "a.mkv", codec, rate=48_000, delay=1.0, silence=1.2)
    with av.open(str(labelled(source, tmp_path))) as file:
        assert float(file.streams.video[0].start_time * file.streams.video[0].time_base) == pytest.approx(0, abs=0.05)
        frames = [(frame.time, np.abs(frame.to_ndarray()[0]).max()) for frame in file.decode(audio=0)]
    limit = 0.1 if max(level for _, level in frames) <= 1.5 else 3000
    assert next(time for time, level in frames if level > limit) == pytest.approx(0.2, abs=0.06)


def test_an_unreadable_one(tmp_path):
    with pytest.raises(VideoError, match="no video stream"):
        labelled(FIXTURES / "audio_only.mp4", tmp_path)


@pytest.mark.parametrize(
    "size, enlarged",
    [((1280, 720), (1280, 720)), ((1281, 721), (1282, 722)), ((96, 72), (384, 288)), ((2, 1000), (2, 1000)),
     ((1, 900), (2, 1800))],
)  # fmt: skip
def test_small_pictures_are_enlarged_and_sides_even(size, enlarged):
    assert _enlarged(np.zeros((size[1], size[0], 3), np.uint8)).shape == (enlarged[1], enlarged[0], 3)


@pytest.mark.parametrize("width, height", [(240, 320), (320, 240), (1280, 720), (250, 2000), (2000, 250), (240, 240)])
def test_the_box_fits(width, height):
    long = [{**p, "label": "a very long name of a class that goes on and on " * 3} for p in BEST]
    for predictions in (BEST, long, BEST[:1]):
        frame = np.full((height, width, 3), 128, np.uint8)
        Caption(predictions, width, height).put(frame)
        drawn = np.argwhere((frame != 128).any(axis=2))
        assert len(drawn) and (drawn.max(axis=0) < (height, width)).all()
        assert (frame.min(axis=2) > 240).any()


@pytest.mark.parametrize(
    "label, drawn",
    [("don't (100 m)", "don't (100 m)"), ("Zähne putzen", "Zahne putzen"), ("żółw", "class 17"), ("Ü", "U")],
)
def test_names_on_a_system_without_fonts(monkeypatch, label, drawn):
    monkeypatch.setattr(caption, "_OTHER_FONTS", ())
    assert caption._drawable({"class_id": 17, "label": label}, 20)[0] == drawn


def test_a_name_that_no_font_can_draw_becomes_the_class_id(monkeypatch):
    asked, own = [], caption.font_of(20)
    monkeypatch.setattr(caption, "_system_font", lambda name, size: asked.append(name) or own)
    assert caption._drawable({"class_id": 17, "label": "打太极拳"}, 20) == ("class 17", own)
    assert asked == list(caption._OTHER_FONTS)

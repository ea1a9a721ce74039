"""Every decoder reads the checked stream, never a playlist, another file or another stream; copies are removed."""

import shutil
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest

from make_fixtures import FIXTURES, still_first
from reader import integrity
from reader.dataset import ClipSpec, read_clip
from reader.decode import VideoError, read_frames

OTHER = FIXTURES / "large.ts"  # the file that the playlists name, 128 pixels wide
SECRET = "its frames are 128 pixels wide"
FOLLOWED = "which only names other files: they are not followed"
PLAYLISTS = {
    "HLS": (f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{OTHER}\n#EXT-X-ENDLIST\n", "a playlist (HLS, M3U)"),
    "M3U": (f"#EXTM3U\n#EXTINF:3,title\n{OTHER}\n", "a playlist (HLS, M3U)"),
    "concat": (f"ffconcat version 1.0\nfile '{OTHER}'\n", "a script of ffmpeg's concat"),
    "SDP": ("v=0\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n", "a description of a session (SDP)"),
    "DASH": (f'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{OTHER}</BaseURL></MPD>',
             "a manifest (DASH)"),
    "PLS": (f"[playlist]\nFile1={OTHER}\n", "a playlist"),
    "ASX": (f'<asx version="3.0"><entry><ref href="{OTHER}"/></entry></asx>', "a playlist"),
}  # fmt: skip


def raw_video() -> bytes:
    """Return h264.ts as raw H.264, which begins with a start code."""
    with av.open(str(FIXTURES / "h264.ts")) as source:
        return b"".join(bytes(packet) for packet in source.demux(video=0) if packet.size)


@pytest.mark.parametrize("decoder", ["auto", "opencv", "decord"])
@pytest.mark.parametrize("behind", [b"", raw_video()], ids=["alone", "before a video"])
@pytest.mark.parametrize("tag", [b"", b"ID3\4\0\0\0\0\0\5title"], ids=["", "behind a tag"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_playlists_are_refused(kind, tag, behind, decoder, tmp_path):
    text, what = PLAYLISTS[kind]
    path = tmp_path / "video.264"
    path.write_bytes(tag + text.encode() + behind)
    with pytest.raises(VideoError) as caught:
        read_frames(str(path), range, decoder)
    assert caught.value.reason == f"not a readable video file: it is {what}, {FOLLOWED}"


@pytest.mark.parametrize("decoder, module", [("auto", "av"), ("opencv", "cv2"), ("decord", "decord")])
@pytest.mark.parametrize("kind", ["HLS", "concat"])
def test_what_is_a_video_to_one_parser_and_a_playlist_to_the_next(kind, decoder, module, tmp_path, monkeypatch):
    """Even if its first bytes did not give it away, no decoder would follow it: each gets the checked stream."""
    pytest.importorskip(module)
    monkeypatch.setattr(integrity, "refused", lambda path: None)
    path = tmp_path / "video.264"
    path.write_bytes(PLAYLISTS[kind][0].encode() + raw_video())
    try:
        frames = read_frames(str(path), range, decoder)
    except VideoError:
        return
    assert frames.shape[1:] == (48, 64, 3), SECRET


@pytest.mark.parametrize("decoder, module", [("opencv", "cv2"), ("decord", "decord")])
def test_they_read_the_stream_that_was_chosen(decoder, module, tmp_path):
    pytest.importorskip(module)
    path = tmp_path / "still.mp4"
    still_first(path)
    assert np.array_equal(read_frames(str(path), range, decoder), read_frames(str(path), range))


@pytest.mark.parametrize("decoder, module", [("opencv", "cv2"), ("decord", "decord")])
@pytest.mark.parametrize("name", ["h264.mp4", "av1.mp4", "audio_only.mp4"])
def test_nothing_stays(name, decoder, module, tmp_path, monkeypatch):
    pytest.importorskip(module)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    shutil.copy(FIXTURES / name, tmp_path / name)
    spec = ClipSpec(2, 1, 36, 32, decoder=decoder)
    for folder in (None, tmp_path / "temporary" / "own"):
        try:
            read_clip(spec, str(tmp_path / name), folder=folder)
        except VideoError as error:
            assert error.path == str(tmp_path / name) and "temporary" not in error.reason
        assert list((tmp_path / "temporary").iterdir()) == []
    assert {entry.name for entry in Path(tmp_path).iterdir()} == {name, "temporary"}

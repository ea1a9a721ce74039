"""The length of a video in every kind of container."""

import pytest

from conftest import make_clip, synthetic_frames
from make_fixtures import FIXTURES
from reader.dataset import ClipSpec, read_clip
from reader.integrity import VideoError
from reader.length import check_length

SECONDS = {"h264.mp4": 2.4, "h264.mkv": 2.4, "h264.avi": 2.4, "h264.ts": 2.4, "vp8.webm": 2.4, "fragmented.mp4": 2.4}


@pytest.mark.parametrize("name, seconds", SECONDS.items(), ids=SECONDS)
def test_the_limit_is_where_the_video_ends(name, seconds):
    check_length(str(FIXTURES / name), seconds + 0.06)
    with pytest.raises(VideoError, match=f"it lasts longer than {seconds - 0.06:g} s"):
        check_length(str(FIXTURES / name), seconds - 0.06)


def test_a_clip_is_read_within_the_limit_alone(tmp_path):
    make_clip(tmp_path / "clip.mp4", synthetic_frames(0, 0, length=25))
    spec = {"num_segments": 3, "seglen": 1, "short_side": 36, "crop_size": 32}
    read_clip(ClipSpec(**spec, max_seconds=1), str(tmp_path / "clip.mp4"))
    with pytest.raises(VideoError) as raised:
        read_clip(ClipSpec(**spec, max_seconds=0.99), str(tmp_path / "clip.mp4"))
    assert raised.value.reason == "it lasts longer than 0.99 s"

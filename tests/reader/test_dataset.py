"""One video to one clip: frames, channels, crops and labels together."""

import io
import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from conftest import make_clip
from reader import dataset
from reader.dataset import ClipSpec, VideoError, VideoFacts, read_clip

SPEC = ClipSpec(num_segments=3, seglen=1, short_side=36, crop_size=32)


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Provide a video of 30 frames of 44x36; all pixels of frame n are (n, 2n, 3n)."""
    path = tmp_path_factory.mktemp("numbered") / "n.mp4"
    frames = np.zeros((30, 36, 44, 3), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None] * [1, 2, 3]
    make_clip(path, frames.astype(np.uint8))
    return str(path)


def test_segments_and_channels(numbered):
    clip, label = read_clip(SPEC, numbered)
    assert clip.shape == SPEC.shape == (3, 32, 32, 3) and clip.dtype == np.uint8 and clip.flags.c_contiguous
    assert clip[:, 0, 0].tolist() == [[4, 8, 12], [14, 28, 42], [24, 48, 72]]
    assert label is None


def test_frames_of_a_segment_are_stacked_as_channels(numbered):
    spec = ClipSpec(num_segments=2, seglen=3, short_side=36, crop_size=32)
    clip, _ = read_clip(spec, numbered)
    assert clip.shape == spec.shape == (2, 32, 32, 9)
    # c = frame * 3 + colour
    assert clip[0, 5, 5].tolist() == [7, 14, 21, 8, 16, 24, 9, 18, 27]
    assert clip[1, 5, 5].tolist() == [22, 44, 66, 23, 46, 69, 24, 48, 72]


def test_pickles_bring_their_label(tmp_path):
    file = io.BytesIO()
    Image.new("RGB", (44, 36), (10, 200, 30)).save(file, "JPEG", quality=95)
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(("v", 2, [file.getvalue()] * 30)))
    spec = ClipSpec(num_segments=3, seglen=3, short_side=36, crop_size=32, frame_format="pkl")
    clip, label = read_clip(spec, str(tmp_path / "v.pkl"))
    assert label == 2 and clip.shape == (3, 32, 32, 9)
    assert np.abs(clip.reshape(-1, 3).astype(int) - [10, 200, 30]).max() <= 3


def test_training_clips_are_a_function_of_seed_epoch_and_index(workspace):
    path = str(workspace.videos[9][0])

    def clip(seed, epoch, index):
        return read_clip(ClipSpec(3, 1, 36, 32, augment_seed=seed), path, epoch, index)[0]

    first = clip(1, 2, 3)
    assert (first == clip(1, 2, 3)).all()
    assert all((first != clip(*key)).any() for key in ((2, 2, 3), (1, 3, 3), (1, 2, 4)))


@pytest.mark.parametrize("frame_format", ["mp4", "pkl"])
def test_one_window_and_one_mirror_for_all_frames_of_a_video(tmp_path, frame_format):
    frame = np.random.default_rng(0).integers(0, 256, (36, 60, 3), dtype=np.uint8)
    path = tmp_path / f"v.{frame_format}"
    if frame_format == "mp4":
        make_clip(path, np.stack([frame] * 12))
    else:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG")
        path.write_bytes(pickle.dumps(("v", 0, [file.getvalue()] * 12)))
    windows = set()
    for index in range(8):
        spec = ClipSpec(3, 2, 40, 32, frame_format, augment_seed=1)
        clip = read_clip(spec, str(path), 0, index)[0].reshape(3, 32, 32, 2, 3)
        assert (clip == clip[:1, :, :, :1]).all()
        windows.add(clip.tobytes())
    assert len(windows) == 8


def test_half_of_the_clips_are_mirrored_or_none(tmp_path):
    frame = np.random.default_rng(0).integers(0, 256, (36, 36, 3), dtype=np.uint8)
    make_clip(tmp_path / "v.mp4", np.stack([frame] * 3))
    spec, path, mirrored = ClipSpec(1, 1, 36, 36, augment_seed=1), str(tmp_path / "v.mp4"), 0  # one window
    for index in range(20):
        seen = VideoFacts()
        [clip] = read_clip(spec, path, 0, index, seen=seen)[0]
        assert (clip == (frame[:, ::-1] if seen.mirrored else frame)).all()
        mirrored += seen.mirrored
        assert (read_clip(replace(spec, flip=False), path, 0, index)[0] == frame).all()
    assert 4 < mirrored < 16


def test_the_centre_does_not_depend_on_epoch_and_index(workspace):
    path = str(workspace.videos[0][0])
    assert (read_clip(SPEC, path, 0, 0)[0] == read_clip(SPEC, path, 5, 7)[0]).all()


def test_a_second_count_of_the_frames_is_the_one_that_holds(monkeypatch):
    """If a file holds fewer frames than it promised, the decoder asks again."""

    def read_frames(path, choose, decoder, each, folder):
        assert max(choose(300)) > 20
        assert choose(300) == choose(300)  # the same answer to the same question, also in training
        indices = choose(20)
        assert max(indices) < 20
        return np.stack([each(np.zeros((36, 44, 3), np.uint8)) for _ in indices])

    monkeypatch.setattr(dataset, "read_frames", read_frames)
    for seed in (None, 1):
        read_clip(ClipSpec(3, 1, 36, 32, augment_seed=seed), "v.mp4")


def test_unreadable(tmp_path):
    with pytest.raises(VideoError) as error:
        read_clip(SPEC, str(tmp_path / "none.mp4"))
    assert error.value.path == str(tmp_path / "none.mp4")

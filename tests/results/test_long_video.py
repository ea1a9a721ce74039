"""Windows from frames that arrive: the frames that the network gets, and the answer for each window."""

from dataclasses import replace

import numpy as np
import paddle
import pytest

from inference.eager import eager_start
from inference.network import Network
from inference.views import Output, over_views
from make_fixtures import FIXTURES
from models.tsm import TSM
from models.tsn import TSN
from reader.build import clip_spec
from reader.decode import read_frames
from reader.transforms import crop_frame
from reader.windows import Frames, stream_windows
from results.long_video import see_windows
from utils.config.keys import InferConfig

SECTION = InferConfig(seg_num=2, topk=1)


class Counting:
    """A network whose logits are (b, 3 - b), b the mean brightness of a view's frames. It notes its inputs."""

    def __init__(self, frames_apart: bool, section: InferConfig = SECTION, ahead: int = 0):
        self.given = []

        def start(frames: np.ndarray):
            assert frames.ndim == 5
            self.given.append(frames[:, :, 0, 0, 0].tolist())
            bright = frames[:, :, 0, 0, 0].astype(np.float32).mean(axis=1)
            return lambda: Output(np.stack([bright, 3 - bright], axis=1), np.zeros((len(frames), 1, 1), np.float32))

        self.network = Network(over_views(start, section), ahead, "", views=start, frames_apart=frames_apart)


def frames(*numbers_and_uses, views: int = 1) -> Frames:
    """Return frames of one colour each; view v is v brighter than view 0."""
    numbers, uses = zip(*numbers_and_uses)
    crops = np.array(numbers, np.uint8)[:, None] + np.arange(views, dtype=np.uint8)  # [B, V]
    return Frames(np.tile(crops[:, :, None, None, None], (1, 1, 4, 4, 3)), list(uses))


def seen(counting: Counting, *parts, section: InferConfig = SECTION) -> list[tuple]:
    """Return (start, end, first logit) of each window."""
    found = see_windows(counting.network, section, lambda logits: logits.tolist(), parts)
    assert all(len(said) == 1 for _, _, said in found)
    return [(start, end, said[0][0]) for start, end, said in found]


SPANS = [(0, 2), (1, 3), (2, 4)]
PARTS = [
    SPANS,
    frames((10, [(0, 0)]), (20, [(0, 1), (1, 0)])),
    frames((40, [(1, 1), (2, 0)]), (60, [(2, 1)])),
]


@pytest.mark.parametrize("ahead", [0, 1, 5])
def test_frames_that_stand_alone_are_computed_once(ahead):
    counting = Counting(frames_apart=True, ahead=ahead)
    assert seen(counting, *PARTS) == [(0, 2, 15), (1, 3, 30), (2, 4, 50)]
    assert counting.given == [[[10], [20]], [[40], [60]]]


def test_frames_that_see_each_other_are_computed_as_videos():
    counting = Counting(frames_apart=False)
    assert seen(counting, *PARTS) == [(0, 2, 15), (1, 3, 30), (2, 4, 50)]
    assert counting.given == [[[10, 20]], [[20, 40]], [[40, 60]]]


@pytest.mark.parametrize("frames_apart", [True, False])
def test_a_frame_may_be_several_segments(frames_apart):
    parts = [[(0, 1)], frames((7, [(0, 0), (0, 1)]))]
    assert seen(Counting(frames_apart), *parts) == [(0, 1, 7)]


@pytest.mark.parametrize("frames_apart", [True, False])
def test_begun_anew(frames_apart):
    wrong = frames((99, [(0, 0)]), (98, [(0, 1), (1, 0)]))
    assert seen(Counting(frames_apart, ahead=1), SPANS, wrong, *PARTS) == [(0, 2, 15), (1, 3, 30), (2, 4, 50)]


@pytest.mark.parametrize("frames_apart", [True, False])
def test_windows_behind_the_end_are_left_out(frames_apart):
    assert seen(Counting(frames_apart), *PARTS[:2]) == [(0, 2, 15)]


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_views_are_averaged_as_those_of_a_video(average):
    section = replace(SECTION, crops=3, average=average)
    parts = [SPANS, frames((1, [(0, 0)]), (2, [(0, 1)]), views=3)]
    apart, whole = (Counting(kind, section) for kind in (True, False))
    [first], [second] = seen(apart, *parts, section=section), seen(whole, *parts, section=section)
    assert first == pytest.approx(second)
    assert apart.given == [[[1], [2], [3], [2], [3], [4]]] and whole.given == [[[1, 2], [2, 3], [3, 4]]]


@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("model_class", [TSN, TSM])
def test_a_window_is_what_a_clip_cut_out_is(model_class):
    paddle.seed(0)
    model = model_class(5, num_layers=18)
    model.eval()
    section = InferConfig(seg_num=5, short_size=36, target_size=32)
    start = over_views(eager_start(model), section)
    network = Network(start, 0, "", views=start, frames_apart=not model_class.shifts)
    path, spec = str(FIXTURES / "h264.mp4"), clip_spec(section)
    windows = see_windows(network, section, lambda logits: logits[0], filter(None, stream_windows(path, spec, 1, 0.2)))
    assert len(windows) == 8 and np.std([logits for *_, logits in windows], axis=0).max() > 1e-3
    for number, (_, _, logits) in enumerate(windows):
        indices = [5 * number + i for i in (2, 7, 12, 17, 22)]
        clip = read_frames(path, lambda _, chosen=indices: chosen, each=lambda frame: crop_frame(frame, spec)[0])
        assert np.abs(logits - network(clip[None])[0]).max() < 1e-4

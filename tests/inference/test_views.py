"""The answers for a video's views become one, exactly, whatever the logits and however the views were computed."""

from types import SimpleNamespace

import numpy as np
import pytest

from inference import views
from inference.views import Output, average_views, in_pieces, over_views


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


LOGITS = np.random.default_rng(0).normal(0, 4, (5, 3, 7)).astype(np.float32)


def test_logits():
    assert np.array_equal(average_views(LOGITS, "logits"), LOGITS.mean(axis=1))


def test_probabilities():
    ours = average_views(LOGITS, "probabilities")
    assert ours.dtype == np.float32
    mean = softmax(LOGITS.astype(np.float64)).mean(axis=1)
    np.testing.assert_allclose(softmax(ours.astype(np.float64)), mean, rtol=1e-6)
    assert np.abs(mean - softmax(LOGITS.mean(axis=1))).max() > 0.05  # the other average would be wrong here


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_one_view_is_left_as_it_is(average):
    assert np.array_equal(average_views(LOGITS[:, :1], average), LOGITS[:, 0])


def test_a_probability_of_nothing_is_finite():
    ours = average_views(np.array([[[5000, 0, -5000], [5000, 0, -4000]]], np.float32), "probabilities")
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, [[0, -5000, -9000 - np.log(2)]])


def test_what_is_not_a_number_stays_so():
    assert np.isnan(average_views(np.array([[[np.nan, 0], [1, 0]]], np.float32), "probabilities")).any()


class Network:
    """A network that records its calls. Logits [N, 1]: the sum of a view's pixels; features: of each frame's."""

    def __init__(self):
        self.asked = []

    def __call__(self, frames: np.ndarray):
        self.asked.append(frames.shape)
        features = frames.sum(axis=(2, 3, 4), dtype=np.float32)[..., None]
        return lambda: Output(features.sum(axis=1), features)


def test_views_are_those_of_one_crop_after_another():
    network = Network()
    start = over_views(network, SimpleNamespace(crops=3, average="logits"))
    frames = np.zeros((2, 12, 2, 2, 3), np.uint8)  # 3 crops of 4 segments
    frames[0, 0:4] = 1
    frames[1, 8:12] = 5
    output = start(frames)()
    assert output.logits.tolist() == [[16], [80]]
    assert output.features.tolist() == [[[4]] * 4, [[20]] * 4]
    assert network.asked == [(6, 4, 2, 2, 3)]


@pytest.mark.parametrize("segments, sizes", [(1, [6, 5]), (3, [2, 2, 2, 2, 2, 1]), (6, [1] * 11), (7, [1] * 11)])
def test_pieces(monkeypatch, segments, sizes):
    monkeypatch.setattr(views, "_FRAMES_AT_ONCE", {"cpu": 6})
    network = Network()
    frames = np.random.default_rng(0).integers(0, 256, (11, segments, 2, 2, 3), dtype=np.uint8)
    pieces, whole = in_pieces(network, "cpu")(frames)(), Network()(frames)()
    assert np.array_equal(pieces.logits, whole.logits) and np.array_equal(pieces.features, whole.features)
    assert [shape[0] for shape in network.asked] == sizes

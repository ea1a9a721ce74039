"""TSM against an independent computation in NumPy, also for a single video, as a graph computes it."""

import numpy as np
import paddle
import pytest

from fluid_reference import reference_logits
from models.tsm import TSM, shift_video
from models.tsn import TSN
from models.weights.fitting import load_weights
from networks import unfilled
from weight_formats import BEFORE, random_state, renamed

CLASSES = 7


def frames_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, "uint8")


# family, num_layers, vd, the direction in which its files shift, the activation's slope below 0, data_format
CASES = [
    ("mmaction2_tsm", 18, False, 1, 0, "NHWC"),
    ("mmaction2_tsm", 50, False, 1, 0, "NCHW"),
    ("mit_tsm", 18, False, 1, 0, "NHWC"),
    ("paddlevideo", 18, False, -1, 0, "NHWC"),
    ("paddlevideo_vd", 50, True, -1, 0.01, "NCHW"),
    ("vision", 18, True, -1, 0.01, "NCHW"),
]


@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("family, num_layers, vd, first_from, slope, data_format", CASES)
def test_each_familys_file_shifts_its_way(family, num_layers, vd, first_from, slope, data_format, file_with):
    backbone = "resnet_vd" if vd else "resnet"
    model = unfilled(TSM, CLASSES, 8, num_layers, backbone=backbone, data_format=data_format).eval()
    state = random_state(num_layers, CLASSES, seed=3, vd=vd, narrow=True)
    load_weights(model, file_with(renamed(state, family, num_layers, BEFORE.get(family, "backbone."), vd)))
    frames = frames_of(2, 3, 32, 32, 3)
    expected = reference_logits(state, frames, num_layers, vd=vd, first_from=first_from, slope=slope)
    backwards = model(paddle.to_tensor(frames[:, ::-1].copy())).numpy()  # as if it shifted the other way
    assert np.abs(expected - backwards).max() > 1e-3 * np.abs(expected).max()
    np.testing.assert_allclose(model(paddle.to_tensor(frames)).numpy(), expected, atol=2e-5 * np.abs(expected).max())
    if data_format == "NCHW":
        one_by_one = [
            model.classify(model.frame_features(paddle.to_tensor(video)).mean(axis=0)).numpy() for video in frames
        ]
        np.testing.assert_allclose(one_by_one, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("num_segments", [1, 2, 8])
def test_the_shift_of_a_video_is_that_of_paddles_operation(num_segments):
    x = paddle.randn([num_segments, 24, 5, 4])
    expected = paddle.nn.functional.temporal_shift(x, num_segments, 1 / 8)
    assert np.array_equal(shift_video(x).numpy(), expected.numpy())
    by_hand = x.numpy()
    by_hand[1:, 0:3], by_hand[:1, 0:3] = x.numpy()[:-1, 0:3], 0
    by_hand[:-1, 3:6], by_hand[-1:, 3:6] = x.numpy()[1:, 3:6], 0
    assert np.array_equal(expected.numpy(), by_hand)


def test_a_model_has_the_parameters_of_tsn():
    for backbone in ("resnet", "resnet_vd"):
        models = [unfilled(network, 4, num_layers=18, backbone=backbone) for network in (TSN, TSM)]
        shapes = [{name: tensor.shape for name, tensor in model.state_dict().items()} for model in models]
        assert shapes[0] == shapes[1]


def test_every_parameter_learns_from_the_frames_beside():
    """In the first block the middle frame sees its neighbours and no frame further."""
    model = TSM(4, 5, 18).eval()
    seen = model.backbone.layer1[0]
    x = paddle.randn([5, 64, 8, 8])
    x.stop_gradient = False
    shifted = lambda y: paddle.nn.functional.temporal_shift(y, 5, 1 / 8)  # noqa: E731
    seen(x, shifted)[2].sum().backward()
    assert [bool(x.grad[t].abs().sum() > 0) for t in range(5)] == [False, True, True, True, False]
    outside = x.grad[1].abs().sum(axis=[1, 2]).numpy()
    assert (outside[:8] > 0).all() and not outside[8:].any()


@pytest.mark.usefixtures("narrow_networks")
def test_dropout_differs_between_the_frames():
    model = TSM(512, 4, 18, dropout=0.5)
    model.eval()
    model.training = True  # for dropout alone: the batch normalisation stays in evaluation
    model.fc = paddle.nn.Identity()
    paddle.seed(0)
    hidden = model(paddle.to_tensor(np.repeat(frames_of(1, 1, 32, 32, 3), 4, axis=1))).numpy()
    model.training = False
    whole = model(paddle.to_tensor(np.repeat(frames_of(1, 1, 32, 32, 3), 4, axis=1))).numpy()
    shares = hidden[whole > 0.1] / whole[whole > 0.1]
    assert len(set(np.round(shares, 1))) > 2 and shares.max() <= 2 + 1e-3  # each frame keeps other features

"""The network against an independent computation in NumPy, against paddle.vision, and as a graph."""

import math
import warnings

import numpy as np
import paddle
import pytest

from fluid_reference import reference_logits
from models.resnet import ResNet
from models.tsn import TSN
from models.weights.fitting import load_weights
from networks import unfilled
from utils.errors import InputError
from weight_formats import random_state


def frames_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, "uint8")


@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize(
    "num_layers, seglen, data_format",
    [(18, 1, "NCHW"), (18, 3, "NCHW"), (34, 3, "NHWC"), (50, 3, "NHWC"), (101, 1, "NCHW")],
)
def test_logits_equal_an_independent_computation(num_layers, seglen, data_format, file_with):
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    model = unfilled(TSN, 7, 3, num_layers, seglen, mean, std, data_format)
    state = random_state(num_layers, 7, seed=3, seglen=seglen, narrow=True)
    load_weights(model, file_with(state))
    frames = frames_of(2, 3, 32, 40, 3 * seglen)
    logits = model.eval()(paddle.to_tensor(frames))
    expected = reference_logits(state, frames, num_layers, mean, std)
    assert logits.dtype == paddle.float32
    np.testing.assert_allclose(logits.numpy(), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.usefixtures("narrow_networks")
@pytest.mark.parametrize("num_layers, seglen, data_format", [(18, 2, "NHWC"), (50, 1, "NCHW")])
def test_resnet_vd_equals_an_independent_computation(num_layers, seglen, data_format, file_with):
    """36 pixels become 9, then 5 and 3: the last averages are of fewer pixels."""
    model = unfilled(TSN, 7, 3, num_layers, seglen, data_format=data_format, backbone="resnet_vd").eval()
    state = random_state(num_layers, 7, seed=3, seglen=seglen, vd=True, narrow=True)
    load_weights(model, file_with(state))
    frames = frames_of(1, 2, 32, 36, 3 * seglen)
    expected = reference_logits(state, frames, num_layers, vd=True)
    np.testing.assert_allclose(model(paddle.to_tensor(frames)).numpy(), expected, atol=2e-5 * np.abs(expected).max())


def test_dropout_hides_features_from_the_classifier_in_training_alone():
    model = unfilled(TSN, 4, num_layers=18, dropout=0.5)
    features = paddle.ones([2000, 512])
    paddle.seed(0)
    model.fc = paddle.nn.Identity()
    seen = model.classify(features)
    assert sorted(set(seen.numpy().ravel())) == [0, 2]  # the kept features are doubled
    assert 0.49 < float((seen > 0).astype("float32").mean()) < 0.51
    model.eval()
    assert float(model.classify(features).min()) == 1
    assert unfilled(TSN, 4, num_layers=18).dropout == 0


@pytest.mark.parametrize("num_layers", [18, 34, 50, 101])
def test_names_and_shapes_are_those_of_paddle_vision(num_layers):
    theirs = unfilled(getattr(paddle.vision.models, f"resnet{num_layers}"), num_classes=0).state_dict()
    ours = unfilled(ResNet, num_layers).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {name: t.shape for name, t in theirs.items()}


def test_a_training_step_equals_paddle_vision():
    """Compare batch statistics, running statistics and gradients, too."""
    ours = ResNet(18)
    theirs = unfilled(paddle.vision.models.resnet18, num_classes=0)
    theirs.set_state_dict(ours.state_dict())
    images = paddle.to_tensor(frames_of(4, 3, 48, 48).astype("float32") / 255)
    for network in (ours, theirs):
        network.train()
        with warnings.catch_warnings():  # paddle's own BatchNorm2D warns
            warnings.simplefilter("ignore")
            (network(images).flatten(1) ** 2).mean().backward()
    for (name, a), b in zip(ours.state_dict().items(), theirs.state_dict().values()):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)
    trained = [(a, b) for a, b in zip(ours.parameters(), theirs.parameters()) if not a.stop_gradient]
    assert len(trained) == 60
    for a, b in trained:
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-3, atol=1e-5, err_msg=a.name)


@pytest.mark.usefixtures("narrow_networks")
def test_the_number_of_segments_is_read_from_the_input():
    model = TSN(4, num_segments=3, num_layers=18).eval()
    once = model(paddle.to_tensor(frames_of(2, 1, 32, 32, 3))).numpy()
    seven = model(paddle.to_tensor(np.repeat(frames_of(2, 1, 32, 32, 3), 7, axis=1))).numpy()
    np.testing.assert_allclose(once, seven, rtol=1e-4, atol=1e-5)


def test_the_state_holds_weights_only_and_the_classifier_starts_as_the_originals():
    model = TSN(1000, num_layers=18)
    names = set(model.state_dict())
    assert {name.split(".")[0] for name in names} == {"backbone", "fc"}
    weight, limit = model.fc.weight.numpy(), 1 / math.sqrt(512)
    assert weight.shape == (512, 1000)
    assert -limit <= weight.min() < -0.99 * limit and 0.99 * limit < weight.max() <= limit
    assert not model.fc.bias.numpy().any()
    assert model.backbone.bn1._momentum == 0.9 and model.backbone.bn1._epsilon == 1e-5


@pytest.mark.parametrize("num_layers", [0, 26, "50"])
def test_an_unknown_depth_lists_the_known_ones(num_layers):
    with pytest.raises(InputError, match=f"^MODEL.num_layers is {num_layers}; .* one of 18, 34, 50, 101, 152$"):
        TSN(4, num_layers=num_layers)


class Means(paddle.nn.Layer):
    """A backbone whose features are the means of an image's channels."""

    num_features = 6

    def forward(self, images: paddle.Tensor, shift: None) -> paddle.Tensor:
        return images.mean(axis=[2, 3])


def test_a_graph_gives_the_same_logits_for_any_number_of_segments(tmp_path, monkeypatch):
    """tests/models/graphs compares graphs of whole networks with one number of segments, which export.py writes."""
    monkeypatch.setattr(TSN, "make_backbone", lambda network: Means())
    model = TSN(4, seglen=2).eval()
    spec = [paddle.static.InputSpec([None, None, 32, 32, 6], "uint8", "frames")]
    paddle.jit.save(paddle.jit.to_static(model, input_spec=spec, full_graph=True), str(tmp_path / "tsn"))
    loaded = paddle.jit.load(str(tmp_path / "tsn"))
    loaded.eval()
    for t in (1, 3, 7):
        frames = paddle.to_tensor(frames_of(2, t, 32, 32, 6))
        np.testing.assert_allclose(loaded(frames).numpy(), model(frames).numpy(), rtol=1e-5, atol=1e-6)

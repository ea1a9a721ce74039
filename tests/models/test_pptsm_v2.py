"""PP-TSMv2 against an independent computation in NumPy, its files, and its branches folded for inference."""

import numpy as np
import paddle
import pytest

from models.lcnet_v2 import LCNetV2, fold_branches
from models.pptsm_v2 import PPTSMv2
from models.tsm import TSM, shift_video, shift_videos
from models.tsn import TSN
from models.weights import fitting
from models.weights.fitting import load_model, load_weights
from networks import unfilled
from pptsm_reference import _depthwise, pptsm_logits, random_pptsm, shapes
from utils.config.shared_keys import ModelConfig
from utils.errors import InputError
from weight_formats import random_state, renamed

CLASSES = 7
pytestmark = pytest.mark.usefixtures("all_narrow")


def frames_of(*shape: int) -> np.ndarray:
    """Return frames of random squares, which differ more than noise does."""
    n, t, side = shape
    small = np.random.default_rng(1).integers(0, 256, (n, t, 4, 4, 3), "uint8")
    return small.repeat(side // 4, axis=2).repeat(side // 4, axis=3)


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return random_pptsm(CLASSES, narrow=True)


@pytest.mark.parametrize(
    "num_segments, frames, side, data_format",
    [(8, 8, 32, "NCHW"), (16, 3, 40, "NCHW"), (5, 3, 32, "NHWC")],
)
def test_a_file_of_paddlevideo_gives_its_logits(num_segments, frames, side, data_format, state, file_with):
    model = unfilled(PPTSMv2, CLASSES, num_segments, data_format=data_format).eval()
    report = load_weights(model, path := file_with(state))
    unused = sum(".dw_conv.weight" in name or ".dw_conv.bias" in name for name in state)
    assert str(report) == (
        f"{path}: {len(state) - unused} parameters loaded (PaddleVideo names); ignored: {unused} entries that are no "
        "weights"
    )
    clips = frames_of(2, frames, side)
    expected = pptsm_logits(state, clips, num_segments)
    close = {"atol": 1e-5 * np.abs(expected).max(), "rtol": 0}
    for other in (pptsm_logits(state, clips, num_segments, -1), pptsm_logits(state, clips, 2 * num_segments)):
        assert np.abs(expected - other).max() > 1e-3 * np.abs(expected).max(), "a wrong shift would not show"
    np.testing.assert_allclose(model(paddle.to_tensor(clips)).numpy(), expected, **close)
    for layer in model.sublayers():
        if hasattr(layer, "fold"):
            layer.fold()
    np.testing.assert_allclose(model(paddle.to_tensor(clips)).numpy(), expected, **close)
    if data_format == "NCHW":
        videos = [model.classify(model.frame_features(paddle.to_tensor(clip)).mean(axis=0)).numpy() for clip in clips]
        np.testing.assert_allclose(videos, expected, **close)


def test_the_fold_is_the_branches_in_float64(state, file_with):
    model = load_model(ModelConfig("PPTSMv2", num_classes=CLASSES, seg_num=8), file_with(state))
    folded = {name: layer for name, layer in model.named_sublayers() if getattr(layer, "folded", False)}
    assert len(folded) == 8
    for name, block in folded.items():
        theirs = name.replace("groups", "stages") + ".dw_conv_list."
        x = np.random.default_rng(2).normal(size=(1, len(state[f"{theirs}0.bn.bias"]), 6, 7))
        expected, stride = 0, 2 if name.endswith(".0") else 1
        for number in range(len(block.branches)):
            kernel, scale, offset, mean, variance = (
                state[f"{theirs}{number}.{part}"].astype("float64")
                for part in ("conv.weight", "bn.weight", "bn.bias", "bn._mean", "bn._variance")
            )
            normal = (_depthwise(x, kernel, stride) - mean[:, None, None]) / np.sqrt(variance + 1e-5)[:, None, None]
            expected = expected + normal * scale[:, None, None] + offset[:, None, None]
        weight, bias = fold_branches(block.branches)
        assert (weight.shape[2:], weight.dtype) == ((5, 5), "float64")
        np.testing.assert_allclose(_depthwise(x, weight, stride) + bias[:, None, None], expected, rtol=0, atol=1e-12)
        assert np.array_equal(block.folded_weight.numpy(), weight.astype("float32"))
        assert np.array_equal(block.folded_bias.numpy(), bias.astype("float32"))
    assert {name.replace("groups.", "stages.").replace("branches.", "dw_conv_list.").replace("fc.", "backbone.fc.")
            for name in model.state_dict()} == {name for name in state if not fitting.is_no_weight(name)}  # fmt: skip


def test_a_model_in_training_computes_the_branches_and_hides_features_as_paddlevideo_does(state, file_with):
    model = unfilled(PPTSMv2, CLASSES, 3, dropout=0.2).eval()
    load_weights(model, file_with(state))
    model.fc = paddle.nn.Identity()
    clips = paddle.to_tensor(frames_of(1, 3, 32))
    whole = model.features(clips).numpy()[0]
    model.training = True  # for dropout alone: the batch normalisation stays in evaluation
    paddle.seed(0)
    hidden = model.classify(paddle.to_tensor(whole)).numpy()
    shares = hidden[whole > 0.01] / whole[whole > 0.01]
    assert set(np.round(shares, 4)) == {0, 1.25} and 0.15 < (shares == 0).mean() < 0.25


@pytest.mark.parametrize("share", [3, 6, 7, 8, 16, 100])
def test_any_share_is_shifted_as_paddles_operation_does(share):
    x = paddle.randn([4, 256, 2, 3])
    expected = paddle.nn.functional.temporal_shift(x, 4, 1 / share)
    assert np.array_equal(shift_video(x, share).numpy(), expected.numpy())
    assert np.array_equal(shift_videos(x, 4, share).numpy(), expected.numpy())


def imagenet(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays as PaddleClas' file has them."""
    return {name.removeprefix("backbone."): array for name, array in state.items()}


@pytest.mark.parametrize("file, family", [("PaddleClas", "PaddleClas"), ("PaddleVideo", "PaddleVideo"), ("our", "our")])
@pytest.mark.parametrize("seglen", [1, 2])
def test_training_starts_from_any_of_its_files(file, family, seglen, file_with):
    state = random_pptsm(1000, seed=4, narrow=True)
    own = unfilled(PPTSMv2, 1000, 8)
    if file == "our":
        load_weights(own, file_with(state))
    given = {"PaddleClas": imagenet(state), "PaddleVideo": state}.get(file) or {
        name: tensor.numpy() for name, tensor in own.state_dict().items()
    }
    model = PPTSMv2(CLASSES, 8, seglen=seglen)
    before = model.fc.weight.numpy()
    report = load_weights(model, file_with(given), pretrain=True)
    theirs = {"PaddleVideo": "backbone.fc"}.get(file, "fc")
    assert (report.family, report.left_out) == (family, (f"{theirs}.bias", f"{theirs}.weight"))
    assert np.array_equal(model.fc.weight.numpy(), before)
    first = state["backbone.stem.0.conv.weight"]
    if seglen == 2:
        first = np.repeat(first.mean(axis=1, keepdims=True) / 2, 6, axis=1)
    np.testing.assert_allclose(model.backbone.stem[0].conv.weight.numpy(), first, rtol=1e-5, atol=1e-7)
    branch = state["backbone.stages.3.1.dw_conv_list.2.bn._variance"]
    assert np.array_equal(model.backbone.groups[3][1].branches[2].bn._variance.numpy(), branch)


def without(state: dict, name: str) -> dict:
    return {other: array for other, array in state.items() if other != name}


RESNET = renamed(random_state(18, CLASSES, narrow=True), "paddlevideo", 18, "backbone.")
MISFITS = [
    # change of the file, network, its keys, words of the error
    (lambda s: s, TSM, {}, "(PaddleVideo names); PP-LCNetV2's, MODEL.name is TSM; set MODEL.name=PPTSMv2"),
    (imagenet, TSN, {}, "(PaddleClas names); PP-LCNetV2's, MODEL.name is TSN; set MODEL.name=PPTSMv2"),
    (lambda s: RESNET, PPTSMv2, {}, "(PaddleVideo names); ResNet's, MODEL.name is PPTSMv2; set MODEL.name=TSN, or TSM"),
    (lambda s: s, PPTSMv2, {"num_classes": 5},
     "7 classes, MODEL.num_classes is 5; set MODEL.num_classes=7, or --pretrain"),
    (lambda s: without(s, "backbone.stages.2.1.dw_conv_list.2.bn.bias"), PPTSMv2, {}, "(PaddleVideo names); missing "
     "backbone.groups.2.1.branches.2.bn.bias (there backbone.stages.2.1.dw_conv_list.2.bn.bias)"),
    # only beside branches a depthwise convolution is ignored, and nothing else is
    (lambda s: s | {"backbone.stages.1.0.dw_conv.weight": np.ones(3, "f4"), "backbone.x": np.ones(1, "f4")}, PPTSMv2,
     {}, "(PaddleVideo names); unexpected backbone.stages.1.0.dw_conv.weight, backbone.x"),
]  # fmt: skip


@pytest.mark.parametrize("change, network, keys, words", MISFITS)
def test_what_does_not_fit_is_one_line(change, network, keys, words, state, refused):
    refused(unfilled(network, **{"num_classes": CLASSES, "num_segments": 8} | keys), change(state), words)


@pytest.mark.parametrize("keys, error", [
    ({"num_segments": 2}, "MODEL.seg_num is 2; .* needs 3 segments at least"),
    ({"num_segments": 8, "backbone": "resnet_vd"}, "MODEL.backbone is resnet_vd; .* leave the key out"),
])  # fmt: skip
def test_keys_that_it_cannot_have_are_one_line(keys, error):
    with pytest.raises(InputError, match=f"^{error}$"):
        PPTSMv2(CLASSES, **keys)


def test_stages_are_all_of_the_backbone():
    backbone = unfilled(LCNetV2)
    stages = backbone.stages()
    parameters = [id(parameter) for stage in stages for layer in stage for parameter in layer.parameters()]
    assert len(stages) == 5 and sorted(parameters) == sorted(map(id, backbone.parameters()))
    assert len(shapes(1)) - 16 == len(unfilled(PPTSMv2, 1, 8).state_dict())

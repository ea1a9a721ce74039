"""The parts of a file that --pretrain leaves out or adapts, and the errors for a file that does not fit."""

import numpy as np
import pytest

from models.tsm import TSM
from models.tsn import TSN
from models.weights.fitting import load_weights
from networks import unfilled
from weight_formats import BEFORE, random_state, renamed

CLASSES = 6  # as in conftest.py
FEATURES = 64  # of a narrow ResNet-18
pytestmark = pytest.mark.usefixtures("all_narrow")


@pytest.mark.parametrize(
    "form, classifier",
    [
        ("fluid", {"fc_0.w_0": (FEATURES, 1000), "fc_0.b_0": (1000,)}),
        ("fluid", {"fc10.w_0": (FEATURES, 1000), "fc10.b_0": (1000,)}),
        ("fluid", {"fc_weights": (FEATURES, 1000), "fc_offset": (1000,)}),
        ("fluid", {}),
        ("vision", {"fc.weight": (FEATURES, 1000), "fc.bias": (1000,)}),
        ("torch", {"fc.weight": (1000, FEATURES), "fc.bias": (1000,)}),
        ("paddlevideo", {"out.weight": (FEATURES, 1000), "out.bias": (1000,)}),
        ("paddlevideo", {"head.fc.weight": (FEATURES, 400), "head.fc.bias": (400,)}),
    ],
)
def test_pretrain_leaves_any_classifier_out(form, classifier, small_state, file_with):
    model = TSN(CLASSES, num_layers=18)
    before = model.fc.weight.numpy(), model.fc.bias.numpy()
    names = {n: a for n, a in renamed(small_state, form, 18).items() if n.split(".")[0] not in ("fc", "fc_0", "head")}
    path = file_with(names | {name: np.ones(shape, "f4") for name, shape in classifier.items()})
    report = load_weights(model, path, pretrain=True)
    assert report.matched == 100 and set(report.left_out) == set(classifier)
    assert np.array_equal(model.fc.weight.numpy(), before[0]) and np.array_equal(model.fc.bias.numpy(), before[1])
    assert np.array_equal(model.backbone.conv1.weight.numpy(), small_state["conv1_weights"])


@pytest.mark.parametrize("classifier", [{"fc.weight": (FEATURES, 2), "fc.bias": (2,)}, {}])
def test_rows_of_classes_that_the_file_does_not_have(classifier, small_state, refused):
    """Such rows come from the manifest of other weights."""
    model = TSN(CLASSES, num_layers=18)
    before = model.fc.weight.numpy().copy(), model.backbone.conv1.weight.numpy().copy()
    names = {n: a for n, a in renamed(small_state, "vision", 18).items() if not n.startswith("fc.")}
    names |= {name: np.ones(shape, "f4") for name, shape in classifier.items()}
    refused(model, names, "no classifier of the classes manifest", pretrain=True, rows={1: 0, 3: 2})
    assert np.array_equal(model.fc.weight.numpy(), before[0])
    assert np.array_equal(model.backbone.conv1.weight.numpy(), before[1])


@pytest.mark.parametrize("seglen", [2, 5])
def test_pretrain_spreads_the_first_convolution_over_the_frames(seglen, small_state, file_with, refused):
    model = TSN(CLASSES, num_layers=18, seglen=seglen)
    load_weights(model, file_with(small_state), pretrain=True)
    weight = model.backbone.conv1.weight.numpy()
    assert weight.shape == (8, 3 * seglen, 7, 7)
    for channel in range(3 * seglen):
        mean = small_state["conv1_weights"].mean(1) / seglen
        np.testing.assert_allclose(weight[:, channel], mean, rtol=1e-5, atol=1e-8)
    # without --pretrain nothing is adapted
    shapes = f"shape: backbone.conv1.weight (there conv1_weights): file [8, 3, 7, 7], model [8, {3 * seglen}, 7, 7]"
    refused(model, small_state, shapes)


# ------------------------------------------------------------------------------------- files that do not fit


def without(*names):
    return lambda state: {name: array for name, array in state.items() if name not in names}


def changed(**arrays):
    """Return a change of a file; `__` stands for the dot in a name."""
    return lambda state: state | {name.replace("__", "."): np.asarray(array) for name, array in arrays.items()}


def with_value(name, value):
    def change(state):
        array = state[name].copy()
        array.flat[0] = value
        return state | {name: array}

    return change


def classes(number):
    return changed(fc_0__w_0=np.ones((FEATURES, number), "f4"), fc_0__b_0=np.ones(number, "f4"))


ONE = np.ones(1, "f4")
# change of the file, pretrain, words of the error
MISFITS = [
    (without("res2a_branch2a_weights"), False,
     "(Fluid names); missing backbone.layer1.0.conv1.weight (there res2a_branch2a_weights)"),
    (without("fc_0.b_0"), False, "(Fluid names); missing fc.bias (there fc_0.b_0)"),
    (changed(extra=ONE), True, "(Fluid names); unexpected extra"),
    (changed(fc_1__w_0=ONE), False, "(Fluid names); unexpected fc_1.w_0"),
    (lambda state: state | {"new\nline": ONE}, False, "(Fluid names); unexpected 'new\\nline'"),
    (lambda state: without("bn_conv1_mean")(state) | {"bn_conv1_man": np.ones(8, "f4")}, False,
     "(Fluid names); missing backbone.bn1._mean (there bn_conv1_mean); unexpected bn_conv1_man"),
    (lambda state: classes(5)(state) | {"x": ONE}, False,
     "(Fluid names); unexpected x; shape: fc.weight (there fc_0.w_0): file [64, 5], model [64, 6], "
     "fc.bias (there fc_0.b_0): file [5], model [6]"),
    (changed(bn_conv1_scale=np.ones(4, "f4"), fc_0__b_0=np.ones(5, "f4")), False,
     "(Fluid names); shape: backbone.bn1.weight (there bn_conv1_scale): file [4], model [8], "
     "fc.bias (there fc_0.b_0): file [5], model [6]"),
    (classes(400), False, "file 400 classes, MODEL.num_classes is 6; set MODEL.num_classes=400, or --pretrain"),
    (lambda state: state | {"fc_0.w_0": state["fc_0.w_0"].T}, False,
     "(Fluid names); shape: fc.weight (there fc_0.w_0): file [6, 64], model [64, 6]"),
    (with_value("fc_0.b_0", np.nan), False, "fc.bias not finite"),
    (with_value("bn2a_branch2a_mean", np.inf), True, "backbone.layer1.0.bn1._mean not finite"),
    (with_value("bn5b_branch2b_variance", -1e-3), True, "backbone.layer4.1.bn2._variance negative variance"),
    (changed(bn_conv1_mean=np.full(8, 1e300)), True, "backbone.bn1._mean not finite"),
    (changed(bn_conv1_mean=np.ones(8, "i4")), True, "backbone.bn1._mean int32, expected floating point"),
    (lambda state: {"weights": ONE, "bias": ONE}, True, "no known kind: first names bias, weights"),
    (lambda state: {f"w{i:02}": ONE for i in range(11)}, True,
     "no known kind: first names w00, w01, w02, w03, w04, w05, w06, w07 and 3 more"),
]  # fmt: skip


@pytest.mark.parametrize("change, pretrain, words", MISFITS)
def test_a_file_that_does_not_fit_changes_nothing(change, pretrain, words, small, small_state, refused):
    before = {name: tensor.numpy() for name, tensor in small.state_dict().items()}
    refused(small, change(small_state), words, pretrain=pretrain)
    assert all(np.array_equal(before[name], tensor.numpy()) for name, tensor in small.state_dict().items())


def test_weights_of_another_depth_are_called_so(small_state, refused):
    model = unfilled(TSN, CLASSES, num_layers=34)
    refused(model, small_state, "(Fluid names); ResNet-18's, MODEL.num_layers is 34; set MODEL.num_layers=18")
    no_depth = without("res2a_branch2b_weights")(small_state)
    refused(model, no_depth, "(Fluid names); missing backbone.layer1.0.conv2.weight (there and 73 more")


def test_a_projection_in_the_first_block_is_another_network(small, small_state, refused):
    """The ResNet-18 of Paddle's image classification has one where the paper and paddle.vision have none."""
    state = changed(res2a_branch1_weights=np.ones((8, 8, 1, 1), "f4"))(small_state)
    refused(small, state, "unexpected res2a_branch1_weights")


TO_TSM = "file is a TSM's, MODEL.name is TSN; set MODEL.name=TSM"
TO_TSN = "file is a TSN's, MODEL.name is TSM; set MODEL.name=TSN"
# (network, its keys), family of the file, (its depth, classes, whether vd), pretrain, words of the error
OTHER_KEYS = [
    ((TSN, {}), "mmaction2_tsm", (18, CLASSES, False), False, f"(mmaction2 names); {TO_TSM}"),
    ((TSN, {}), "mit_tsm", (18, CLASSES, False), False, f"(tsn-pytorch names); {TO_TSM}"),
    ((TSM, {}), "tsn_pytorch", (18, CLASSES, False), False, f"(tsn-pytorch names); {TO_TSN}"),
    ((TSM, {}), "mmaction2", (18, CLASSES, False), False, f"(mmaction2 names); {TO_TSN}"),
    ((TSN, {}), "paddlevideo_vd", (18, CLASSES, True), False,
     "(PaddleVideo names); ResNet-vd's, MODEL.backbone is resnet; set MODEL.backbone=resnet_vd"),
    ((TSN, {"backbone": "resnet_vd"}), "torch", (18, CLASSES, False), False,
     "(torchvision names); ResNet's, MODEL.backbone is resnet_vd; set MODEL.backbone=resnet"),
    ((TSN, {}), "paddleclas", (34, 1000, True), True,
     "(PaddleClas names); ResNet-vd's, MODEL.backbone is resnet; ResNet-34's, MODEL.num_layers is 18; "
     "set MODEL.backbone=resnet_vd, MODEL.num_layers=34"),
    ((TSN, {"backbone": "resnet_vd"}), "mmaction2_tsm", (34, 400, False), False,
     "(mmaction2 names); TSM's, MODEL.name is TSN; ResNet's, MODEL.backbone is resnet_vd; ResNet-34's, "
     "MODEL.num_layers is 18; 400 classes, MODEL.num_classes is 6; "
     "set MODEL.name=TSM, MODEL.backbone=resnet, MODEL.num_layers=34, MODEL.num_classes=400"),
    ((TSM, {}), "paddlevideo", (18, CLASSES, False), False,
     "(PaddleVideo names); 3 segments 1/3 of the channels, of 8; set MODEL.seg_num=8"),
    ((TSM, {"num_segments": 8}), "paddlevideo", (18, 400, False), False,
     "400 classes, MODEL.num_classes is 6; set MODEL.num_classes=400, or --pretrain"),
]  # fmt: skip


@pytest.mark.parametrize("made, family, of, pretrain, words", OTHER_KEYS)
def test_keys_that_would_make_a_file_fit_are_named(made, family, of, pretrain, words, refused):
    (network, keys), (num_layers, classes, vd) = made, of
    state = random_state(num_layers, classes, vd=vd, narrow=True)
    state = renamed(state, family, num_layers, BEFORE.get(family, "backbone."), vd)
    refused(unfilled(network, CLASSES, num_layers=18, **keys), state, words, pretrain=pretrain)


@pytest.mark.parametrize("family", ["mmaction2", "mmaction2_tsm", "mit_tsm", "paddlevideo", "torch", "vision"])
@pytest.mark.parametrize("network", [TSN, TSM])
def test_any_backbone_starts_the_training_of_any_model(family, network, small_state, file_with):
    model = network(CLASSES + 1, num_layers=18)
    path = file_with(renamed(small_state, family, 18, BEFORE.get(family, "backbone.")))
    report = load_weights(model, path, pretrain=True)
    assert report.matched == 100 and len(report.left_out) == 2
    found, theirs = model.backbone.layer1[0].conv2.weight.numpy(), small_state["res2a_branch2b_weights"]
    assert np.array_equal(found[2:], theirs[2:]) and model.fc.weight.shape == [FEATURES, CLASSES + 1]


def test_a_tsm_that_leaves_blocks_out_is_another_network(small_state, file_with, refused):
    """In mmaction2's TSM with ResNet-101, every second block has another name."""
    named = renamed(small_state, "mmaction2_tsm", 18, "backbone.")
    for stage in range(1, 5):
        name = f"backbone.layer{stage}.1.conv1.conv."
        named[f"{name}weight"] = named.pop(f"{name}net.weight")
    for network in (TSM, TSN):
        refused(unfilled(network, CLASSES, num_layers=18), named, "TSM 4 blocks, mmaction2 ResNet-101, --pretrain")
    assert load_weights(unfilled(TSM, CLASSES, num_layers=18), file_with(named), pretrain=True).matched == 100


def test_a_missing_name_is_told_as_the_file_spells_it(small_state, refused):
    named = renamed(small_state, "mmaction2_tsm", 18, "backbone.")
    del named["backbone.layer2.0.conv2.bn.running_var"]
    words = "missing backbone.layer2.0.bn2._variance (there backbone.layer2.0.conv2.bn.running_var)"
    refused(unfilled(TSM, CLASSES, num_layers=18), named, words)

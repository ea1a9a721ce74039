"""What --pretrain leaves out and adapts, and what is said when a file does not fit."""

import numpy as np
import pytest

from models.tsm import TSM
from models.tsn import TSN
from models.weights.fitting import load_weights
from networks import unfilled
from utils.errors import InputError
from weight_formats import BEFORE, random_state, renamed

CLASSES = 6  # as in conftest.py


@pytest.mark.parametrize(
    "form, classifier",
    [
        ("fluid", {"fc_0.w_0": (512, 1000), "fc_0.b_0": (1000,)}),
        ("fluid", {"fc10.w_0": (512, 1000), "fc10.b_0": (1000,)}),
        ("fluid", {"fc_weights": (512, 1000), "fc_offset": (1000,)}),
        ("fluid", {}),
        ("vision", {"fc.weight": (512, 1000), "fc.bias": (1000,)}),
        ("torch", {"fc.weight": (1000, 512), "fc.bias": (1000,)}),
        ("paddlevideo", {"out.weight": (512, 1000), "out.bias": (1000,)}),
        ("paddlevideo", {"head.fc.weight": (512, 400), "head.fc.bias": (400,)}),
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


@pytest.mark.parametrize("classifier", [{"fc.weight": (512, 2), "fc.bias": (2,)}, {}])
def test_rows_of_classes_that_the_file_does_not_have(classifier, small_state, file_with):
    """A manifest of other weights named them."""
    model = TSN(CLASSES, num_layers=18)
    before = model.fc.weight.numpy().copy(), model.backbone.conv1.weight.numpy().copy()
    names = {n: a for n, a in renamed(small_state, "vision", 18).items() if not n.startswith("fc.")}
    path = file_with(names | {name: np.ones(shape, "f4") for name, shape in classifier.items()})
    with pytest.raises(InputError) as error:
        load_weights(model, path, pretrain=True, rows={1: 0, 3: 2})
    assert str(error.value) == f"{path}: it has no classifier of the classes that the manifest beside it names"
    assert np.array_equal(model.fc.weight.numpy(), before[0])
    assert np.array_equal(model.backbone.conv1.weight.numpy(), before[1])


@pytest.mark.parametrize("seglen", [2, 5])
def test_pretrain_spreads_the_first_convolution_over_the_frames(seglen, small_state, file_with):
    path = file_with(small_state)
    model = TSN(CLASSES, num_layers=18, seglen=seglen)
    load_weights(model, path, pretrain=True)
    weight = model.backbone.conv1.weight.numpy()
    assert weight.shape == (64, 3 * seglen, 7, 7)
    for channel in range(3 * seglen):
        mean = small_state["conv1_weights"].mean(1) / seglen
        np.testing.assert_allclose(weight[:, channel], mean, rtol=1e-5, atol=1e-8)
    with pytest.raises(InputError) as error:  # weights of a whole model are taken as they are, or not at all
        load_weights(model, path)
    assert str(error.value) == (
        f"{path}: does not fit the model (Fluid names); of another shape: "
        f"backbone.conv1.weight (there conv1_weights): file [64, 3, 7, 7], model [64, {3 * seglen}, 7, 7]"
    )


# ------------------------------------------------------------------------------------- files that do not fit


def without(*names):
    return lambda state: {name: array for name, array in state.items() if name not in names}


def with_value(name, value, where=0):
    def change(state):
        array = state[name].copy()
        array.flat[where] = value
        return state | {name: array}

    return change


MISFITS = [
    (
        without("res2a_branch2a_weights"),
        False,
        "does not fit the model (Fluid names); "
        "missing in the file: backbone.layer1.0.conv1.weight (there res2a_branch2a_weights)",
    ),
    (
        without("fc_0.b_0"),
        False,
        "does not fit the model (Fluid names); missing in the file: fc.bias (there fc_0.b_0)",
    ),
    (
        lambda state: state | {"extra": np.ones(1, "f4")},
        True,
        "does not fit the model (Fluid names); unexpected in the file: extra",
    ),
    (
        lambda state: state | {"fc_1.w_0": np.ones(1, "f4")},
        False,
        "does not fit the model (Fluid names); unexpected in the file: fc_1.w_0",
    ),
    (
        lambda state: state | {"new\nline": np.ones(1, "f4")},
        False,
        "does not fit the model (Fluid names); unexpected in the file: 'new\\nline'",
    ),
    (
        lambda state: without("bn_conv1_mean")(state) | {"bn_conv1_man": np.ones(64, "f4")},
        False,
        "does not fit the model (Fluid names); missing in the file: backbone.bn1._mean (there bn_conv1_mean); "
        "unexpected in the file: bn_conv1_man",
    ),
    (
        lambda state: state | {"fc_0.w_0": np.ones((512, 5), "f4"), "fc_0.b_0": np.ones(5, "f4"), "x": np.ones(1)},
        False,
        "does not fit the model (Fluid names); unexpected in the file: x; of another shape: "
        "fc.weight (there fc_0.w_0): file [512, 5], model [512, 6], fc.bias (there fc_0.b_0): file [5], model [6]",
    ),
    (
        lambda state: state | {"bn_conv1_scale": np.ones(32, "f4"), "fc_0.b_0": np.ones(5, "f4")},
        False,
        "does not fit the model (Fluid names); of another shape: backbone.bn1.weight (there bn_conv1_scale): "
        "file [32], model [64], fc.bias (there fc_0.b_0): file [5], model [6]",
    ),
    (
        lambda state: state | {"fc_0.w_0": np.ones((512, 400), "f4"), "fc_0.b_0": np.ones(400, "f4")},
        False,
        "the file has 400 classes, MODEL.num_classes is 6; set MODEL.num_classes=400, or train.py --pretrain keeps the "
        "backbone only",
    ),
    (
        lambda state: state | {"fc_0.w_0": state["fc_0.w_0"].T},
        False,
        "does not fit the model (Fluid names); of another shape: "
        "fc.weight (there fc_0.w_0): file [6, 512], model [512, 6]",
    ),
    (with_value("fc_0.b_0", np.nan), False, "fc.bias holds a value that is not finite"),
    (
        with_value("bn2a_branch2a_mean", np.inf),
        True,
        "backbone.layer1.0.bn1._mean holds a value that is not finite",
    ),
    (
        with_value("bn5b_branch2b_variance", -1e-3),
        True,
        "backbone.layer4.1.bn2._variance holds a negative variance",
    ),
    (
        lambda state: state | {"bn_conv1_mean": np.full(64, 1e300)},
        True,
        "backbone.bn1._mean holds a value that is not finite",
    ),
    (
        lambda state: state | {"bn_conv1_mean": np.ones(64, "i4")},
        True,
        "backbone.bn1._mean holds int32, expected floating point",
    ),
    (
        lambda state: {"weights": np.ones(1), "bias": np.ones(1)},
        True,
        "weights of no known kind: its first names are bias, weights",
    ),
    (
        lambda state: {f"w{i:02}": np.ones(1) for i in range(11)},
        True,
        "weights of no known kind: its first names are w00, w01, w02, w03, w04, w05, w06, w07 and 3 more",
    ),
]


@pytest.mark.parametrize("change, pretrain, message", MISFITS)
def test_a_file_that_does_not_fit_changes_nothing(change, pretrain, message, small, small_state, file_with):
    path = file_with(change(small_state))
    before = {name: tensor.numpy() for name, tensor in small.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_weights(small, path, pretrain)
    assert str(error.value) == f"{path}: {message}"
    assert all(np.array_equal(before[name], tensor.numpy()) for name, tensor in small.state_dict().items())


def test_weights_of_another_depth_are_called_so(small_state, file_with):
    small_state = dict(small_state)
    path = file_with(small_state)
    with pytest.raises(InputError) as error:
        load_weights(unfilled(TSN, CLASSES, num_layers=34), path)
    assert str(error.value) == (
        f"{path}: does not fit the model (Fluid names); the file is a ResNet-18's, MODEL.num_layers is 34; "
        "set MODEL.num_layers=18"
    )
    del small_state["res2a_branch2b_weights"]  # of no ResNet now
    with pytest.raises(InputError) as error:
        load_weights(unfilled(TSN, CLASSES, num_layers=34), file_with(small_state))
    start = f"{path}: does not fit the model (Fluid names); missing in the file: backbone.layer1.0.conv2.weight (there "
    assert str(error.value).startswith(start) and str(error.value).endswith(" and 73 more")


def test_a_projection_in_the_first_block_is_another_network(small, small_state, file_with):
    """The ResNet-18 of Paddle's image classification has one where the paper and paddle.vision have none."""
    path = file_with(small_state | {"res2a_branch1_weights": np.ones((64, 64, 1, 1), "f4")})
    with pytest.raises(InputError) as error:
        load_weights(small, path)
    assert str(error.value).endswith("unexpected in the file: res2a_branch1_weights")


# (network, its keys), family of the file, (its depth, classes, whether vd), pretrain, what is said
OTHER_KEYS = [
    (
        (TSN, {}), "mmaction2_tsm", (18, CLASSES, False), False,
        "does not fit the model (mmaction2 names); the file is a TSM's, MODEL.name is TSN; set MODEL.name=TSM",
    ),
    (
        (TSN, {}), "mit_tsm", (18, CLASSES, False), False,
        "does not fit the model (tsn-pytorch names); the file is a TSM's, MODEL.name is TSN; set MODEL.name=TSM",
    ),
    (
        (TSM, {}), "tsn_pytorch", (18, CLASSES, False), False,
        "does not fit the model (tsn-pytorch names); the file is a TSN's, MODEL.name is TSM; set MODEL.name=TSN",
    ),
    (
        (TSM, {}), "mmaction2", (18, CLASSES, False), False,
        "does not fit the model (mmaction2 names); the file is a TSN's, MODEL.name is TSM; set MODEL.name=TSN",
    ),
    (
        (TSN, {}), "paddlevideo_vd", (18, CLASSES, True), False,
        "does not fit the model (PaddleVideo names); the file is a ResNet-vd's, MODEL.backbone is resnet; "
        "set MODEL.backbone=resnet_vd",
    ),
    (
        (TSN, {"backbone": "resnet_vd"}), "torch", (18, CLASSES, False), False,
        "does not fit the model (torchvision names); the file is a ResNet's, MODEL.backbone is resnet_vd; "
        "set MODEL.backbone=resnet",
    ),
    (
        (TSN, {}), "paddleclas", (34, 1000, True), True,
        "does not fit the model (PaddleClas names); the file is a ResNet-vd's, MODEL.backbone is resnet; "
        "the file is a ResNet-34's, MODEL.num_layers is 18; set MODEL.backbone=resnet_vd, MODEL.num_layers=34",
    ),
    (
        (TSN, {"backbone": "resnet_vd"}), "mmaction2_tsm", (34, 400, False), False,
        "does not fit the model (mmaction2 names); the file is a TSM's, MODEL.name is TSN; the file is a ResNet's, "
        "MODEL.backbone is resnet_vd; the file is a ResNet-34's, MODEL.num_layers is 18; the file has 400 classes, "
        "MODEL.num_classes is 6; set MODEL.name=TSM, MODEL.backbone=resnet, MODEL.num_layers=34, MODEL.num_classes=400",
    ),
    (
        (TSM, {}), "paddlevideo", (18, CLASSES, False), False,
        "does not fit the model (PaddleVideo names); PaddleVideo's TSM of 3 segments shifts 1/3 of the channels, known "
        "here is its TSM of 8; set MODEL.seg_num=8",
    ),
    (
        (TSM, {"num_segments": 8}), "paddlevideo", (18, 400, False), False,
        "the file has 400 classes, MODEL.num_classes is 6; set MODEL.num_classes=400, or train.py --pretrain keeps the "
        "backbone only",
    ),
]  # fmt: skip


@pytest.mark.parametrize("made, family, of, pretrain, message", OTHER_KEYS)
def test_keys_that_would_make_a_file_fit_are_named(made, family, of, pretrain, message, file_with):
    num_layers, classes, vd = of
    before = BEFORE.get(family, "backbone.")
    path = file_with(renamed(random_state(num_layers, classes, vd=vd), family, num_layers, before, vd))
    network, keys = made
    with pytest.raises(InputError) as error:
        load_weights(unfilled(network, CLASSES, num_layers=18, **keys), path, pretrain)
    assert str(error.value) == f"{path}: {message}"


@pytest.mark.parametrize("family", ["mmaction2", "mmaction2_tsm", "mit_tsm", "paddlevideo", "torch", "vision"])
@pytest.mark.parametrize("network", [TSN, TSM])
def test_any_backbone_starts_the_training_of_any_model(family, network, small_state, file_with):
    model = network(CLASSES + 1, num_layers=18)
    report = load_weights(
        model, file_with(renamed(small_state, family, 18, BEFORE.get(family, "backbone."))), pretrain=True
    )
    assert report.matched == 100 and len(report.left_out) == 2
    same = np.array_equal(
        model.backbone.layer1[0].conv2.weight.numpy()[16:], small_state["res2a_branch2b_weights"][16:]
    )
    assert same and model.fc.weight.shape == [512, CLASSES + 1]


def test_a_tsm_that_leaves_blocks_out_is_another_network(small_state, file_with):
    """mmaction2's with ResNet-101, whose every second block has another name."""
    named = renamed(small_state, "mmaction2_tsm", 18, "backbone.")
    for stage in range(1, 5):
        name = f"backbone.layer{stage}.1.conv1.conv."
        named[f"{name}weight"] = named.pop(f"{name}net.weight")
    path = file_with(named)
    for network in (TSM, TSN):
        with pytest.raises(InputError) as error:
            load_weights(unfilled(network, CLASSES, num_layers=18), path)
        assert str(error.value) == (
            f"{path}: this TSM shifts in 4 blocks, as mmaction2 leaves every second one out with ResNet-101, and here "
            "in all; use --pretrain to keep the backbone only"
        )
    assert load_weights(unfilled(TSM, CLASSES, num_layers=18), path, pretrain=True).matched == 100


def test_a_missing_name_is_told_as_the_file_spells_it(small_state, file_with):
    named = renamed(small_state, "mmaction2_tsm", 18, "backbone.")
    del named["backbone.layer2.0.conv2.bn.running_var"]
    with pytest.raises(InputError) as error:
        load_weights(unfilled(TSM, CLASSES, num_layers=18), file_with(named))
    assert str(error.value).endswith(
        "missing in the file: backbone.layer2.0.bn2._variance (there backbone.layer2.0.conv2.bn.running_var)"
    )

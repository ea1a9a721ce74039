"""Each weight format into the model, and what is said when a file does not fit."""

import json
import shutil
import struct

import numpy as np
import paddle
import pytest
import safetensors.numpy
from fluid_reference import reference_logits
from weight_formats import (
    python2_pickle,
    random_state,
    renamed,
    unit_names,
    units,
    write_archive,
    write_folder,
    write_pickle,
)

from models.tsn import TSN
from models.weights import load_weights, match_names
from utils.errors import InputError

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), "uint8")
CLASSES = 6


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return random_state(50, CLASSES, seed=5)


@pytest.fixture(scope="module")
def expected(state) -> np.ndarray:
    return reference_logits(state, FRAMES, 50)


@pytest.fixture(scope="module")
def model() -> TSN:
    return TSN(CLASSES, num_layers=50).eval()


@pytest.fixture(scope="module")
def small() -> TSN:
    return TSN(CLASSES, num_layers=18).eval()


@pytest.fixture(scope="module")
def small_state() -> dict[str, np.ndarray]:
    return random_state(18, CLASSES, seed=6)


def save_paddle(path, state) -> None:
    paddle.save({name: paddle.to_tensor(array) for name, array in state.items()}, str(path))


def save_torch(path, state, **more) -> None:
    counters = {n.replace("running_mean", "num_batches_tracked"): np.array(9) for n in state if "running_mean" in n}
    safetensors.numpy.save_file(state | counters | more, path)


@pytest.fixture
def file_with(tmp_path, monkeypatch):
    """A function: state -> path of a file that reads as that state, without the cost of writing it."""

    def make(state: dict[str, np.ndarray]):
        (tmp_path / "w.pdparams").touch()
        monkeypatch.setattr("models.weights.read_weights", lambda path: dict(state))
        return tmp_path / "w.pdparams"

    return make


def write(form: str, folder, state: dict[str, np.ndarray], num_layers: int):
    """The path of the weights, written in the given format."""
    path = folder / f"{form}.pdparams"
    match form:
        case "fluid":
            write_pickle(path, state)
        case "fluid_pairs":
            write_pickle(path, {name: (name, array) for name, array in state.items()})
        case "fluid_python2":
            path.write_bytes(python2_pickle(state))
        case "fluid_folder":
            path = folder / "fluid_folder"
            write_folder(path, state)
        case "fluid_archive":
            write_folder(folder / "unpacked", state)
            path = folder / "fluid.tar.gz"
            write_archive(path, folder / "unpacked")
        case "paddlevideo":
            save_paddle(path, renamed(state, "paddlevideo", num_layers, "backbone."))
        case "paddleclas":
            save_paddle(path, renamed(state, "paddleclas", num_layers))
        case "paddle_vision":
            save_paddle(path, renamed(state, "vision", num_layers))
        case "torchvision":
            path = folder / "torchvision.safetensors"
            save_torch(path, renamed(state, "torch", num_layers))
        case "torch_tsn":
            path = folder / "torch_tsn.safetensors"
            wrapped = renamed(state, "torch", num_layers, "backbone.")
            save_torch(path, {f"module.{name}": array for name, array in wrapped.items()})
        case "own":
            own = TSN(CLASSES, num_layers=num_layers)
            own.set_state_dict(renamed(state, "vision", num_layers, "backbone."))
            paddle.save(own.state_dict(), str(path))
    return path


FORMATS = {
    "fluid": "Fluid",
    "fluid_pairs": "Fluid",
    "fluid_python2": "Fluid",
    "fluid_folder": "Fluid",
    "fluid_archive": "Fluid",
    "paddlevideo": "PaddleVideo",
    "paddleclas": "PaddleClas",
    "paddle_vision": "paddle.vision",
    "torchvision": "torchvision",
    "torch_tsn": "torchvision",
    "own": "paddle.vision",
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_logits(form, model, state, expected, tmp_path):
    path = write(form, tmp_path, state, 50)
    report = load_weights(model, path)
    shutil.rmtree(tmp_path)  # pytest would keep 100 MB for each
    np.testing.assert_allclose(
        model(paddle.to_tensor(FRAMES)).numpy(), expected, atol=2e-5 * np.abs(expected).max()
    )
    assert (report.family, report.matched) == (FORMATS[form], 5 * 53 + 2)
    assert str(report).startswith(f"{path}: 267 parameters loaded ({FORMATS[form]} names)")


@pytest.mark.parametrize("num_layers", [18, 34, 152])
def test_names_of_other_depths(num_layers):
    """Each array is a number of its own here, so that only the names decide."""
    names = [name for unit in units(num_layers) for name in unit_names(unit, num_layers, "fluid")]
    labels = {name: np.array([[number]]) for number, name in enumerate([*names, "fc_0.w_0", "fc_0.b_0"])}
    model = TSN(CLASSES, num_layers=num_layers)
    expected = {name: label.item() for name, label in renamed(labels, "vision", num_layers, "backbone.").items()}
    for family in ("fluid", "paddlevideo", "paddleclas", "vision", "torch"):
        match = match_names(renamed(labels, family, num_layers), model, "weights", pretrain=False)
        assert not match.missing and not match.unexpected and not match.left_out, family
        assert {name: label.item() for name, label in match.arrays.items()} == expected, family


def test_a_checkpoint_comes_back_bit_for_bit(small, tmp_path):
    path = tmp_path / "TSN_epoch3"
    paddle.save(small.state_dict(), f"{path}.pdparams")
    other = TSN(CLASSES, num_layers=18)
    report = load_weights(other, path)
    assert str(report) == f"{path}.pdparams: 102 parameters loaded (paddle.vision names)"
    for name, tensor in small.state_dict().items():
        assert np.array_equal(tensor.numpy(), other.state_dict()[name].numpy()), name


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions_become_float32(dtype, small, small_state, tmp_path):
    named = renamed(small_state, "torch", 18)
    if dtype == "bfloat16":  # the upper half of a float32
        named = {name: (array.view("u4") & 0xFFFF0000).view("f4") for name, array in named.items()}
        halves = {name: (array.view("u4") >> 16).astype("u2") for name, array in named.items()}
        write_bfloat16(tmp_path / "w.safetensors", halves)
    else:
        save_torch(tmp_path / "w.safetensors", {name: array.astype(dtype) for name, array in named.items()})
        named = {name: array.astype(dtype).astype("float32") for name, array in named.items()}
    load_weights(small, tmp_path / "w.safetensors")
    assert np.array_equal(small.state_dict()["backbone.layer2.0.bn1._variance"].numpy(), named["layer2.0.bn1.running_var"])
    assert np.array_equal(small.fc.weight.numpy(), named["fc.weight"].T)


def write_bfloat16(path, halves: dict[str, np.ndarray]) -> None:
    """Writes .safetensors by hand: NumPy has no bfloat16 that the package could write."""
    header, data = {}, b""
    for name, half in halves.items():
        place = [len(data), len(data) + half.nbytes]
        header[name] = {"dtype": "BF16", "shape": list(half.shape), "data_offsets": place}
        data += half.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("extra", ["fc_0.w_0_velocity_0", "learning_rate_0", "@LR_DECAY_COUNTER@", "res2a_branch2a_weights_velocity_0"])
def test_the_originals_optimizer_state_is_left_out(extra, small, small_state, tmp_path):
    write_folder(tmp_path / "checkpoint", small_state | {extra: np.zeros(1, "int64")})
    report = load_weights(small, tmp_path / "checkpoint")
    shutil.rmtree(tmp_path)
    assert str(report) == f"{tmp_path}/checkpoint: 102 parameters loaded (Fluid names); left out: {extra}"


# ---------------------------------------------------------------------------------------------- --pretrain


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


@pytest.mark.parametrize("seglen", [2, 5])
def test_pretrain_spreads_the_first_convolution_over_the_frames(seglen, small_state, file_with):
    path = file_with(small_state)
    model = TSN(CLASSES, num_layers=18, seglen=seglen)
    load_weights(model, path, pretrain=True)
    weight = model.backbone.conv1.weight.numpy()
    assert weight.shape == (64, 3 * seglen, 7, 7)
    for channel in range(3 * seglen):
        np.testing.assert_allclose(weight[:, channel], small_state["conv1_weights"].mean(1) / seglen, rtol=1e-5, atol=1e-8)
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
        lambda state: state | {"bn_conv1_scale": np.ones(32, "f4"), "fc_0.b_0": np.ones(5, "f4")},
        False,
        "does not fit the model (Fluid names); of another shape: backbone.bn1.weight (there bn_conv1_scale): "
        "file [32], model [64], fc.bias (there fc_0.b_0): file [5], model [6]",
    ),
    (
        lambda state: state | {"fc_0.w_0": np.ones((512, 400), "f4"), "fc_0.b_0": np.ones(400, "f4")},
        False,
        "the file has 400 classes, MODEL.num_classes is 6; use --pretrain to keep the backbone only",
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
    path = file_with(small_state)
    with pytest.raises(InputError) as error:
        load_weights(TSN(CLASSES, num_layers=34), path)
    assert str(error.value).startswith(
        f"{path}: does not fit the model (Fluid names); the file is a ResNet-18's, MODEL.num_layers is 34; "
        "missing in the file: backbone.layer1.2.conv1.weight (there res2c_branch2a_weights), "
    )
    assert str(error.value).endswith(" and 72 more")


def test_a_projection_in_the_first_block_is_another_network(small, small_state, file_with):
    """The ResNet-18 of Paddle's image classification has one where the paper and paddle.vision have none."""
    path = file_with(small_state | {"res2a_branch1_weights": np.ones((64, 64, 1, 1), "f4")})
    with pytest.raises(InputError) as error:
        load_weights(small, path)
    assert str(error.value).endswith("unexpected in the file: res2a_branch1_weights")

"""Each weight format, loaded into the model, gives the logits of the original's network in NumPy."""

import json
import struct

import numpy as np
import paddle
import pytest
import safetensors.numpy

from conftest import says
from fluid_reference import reference_logits
from models.resnet import ResNet
from models.tsm import TSM
from models.tsn import TSN
from models.weights.fitting import load_weights, match_names
from models.weights.names import parameter_names
from networks import unfilled
from weight_formats import (
    BEFORE,
    python2_pickle,
    random_state,
    renamed,
    torch_older,
    torch_zip,
    unit_names,
    units,
    write_archive,
    write_folder,
    write_pickle,
)

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32, 3), "uint8")
CLASSES = 6  # as in conftest.py
pytestmark = pytest.mark.usefixtures("all_narrow")


@pytest.fixture(scope="module")
def state() -> dict[str, np.ndarray]:
    return random_state(18, CLASSES, seed=5, narrow=True)


@pytest.fixture(scope="module")
def expected(state) -> np.ndarray:
    return reference_logits(state, FRAMES, 18)


@pytest.fixture(scope="module")
def model(all_narrow) -> TSN:
    return unfilled(TSN, CLASSES, num_layers=18).eval()


def save_paddle(path, state) -> None:
    paddle.save({name: paddle.to_tensor(array) for name, array in state.items()}, str(path))


def save_torch(path, state, **more) -> None:
    counters = {n.replace("running_mean", "num_batches_tracked"): np.array(9) for n in state if "running_mean" in n}
    safetensors.numpy.save_file(state | counters | more, path)


def write(form: str, folder, state: dict[str, np.ndarray], num_layers: int):
    """Write the weights in the given format, and return their path."""
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
        case "torchvision_pth":
            path = folder / "torchvision.pth"
            path.write_bytes(torch_zip(renamed(state, "torch", num_layers)))
        case "mmaction2":
            path = folder / "tsn_r50.pth"
            named = renamed(state, "mmaction2", num_layers, "backbone.")
            path.write_bytes(torch_zip({"meta": b"cmmengine\nConfig\n", "state_dict": named}))
        case "mmaction2_older":
            path = folder / "tsn_r50.pth"
            path.write_bytes(torch_older({"state_dict": renamed(state, "mmaction2", num_layers, "backbone.")}))
        case "tsn_pytorch":
            path = folder / "ucf101_rgb.pth.tar"
            named = renamed(state, "tsn_pytorch", num_layers, BEFORE["tsn_pytorch"])
            best = {"epoch": b"K\x50", "arch": "resnet18", "state_dict": named, "best_prec1": np.array(71.2)}
            path.write_bytes(torch_older(best))
        case "own":
            own = unfilled(TSN, CLASSES, num_layers=num_layers)
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
    "torchvision_pth": "torchvision",
    "mmaction2": "mmaction2",
    "mmaction2_older": "mmaction2",
    "tsn_pytorch": "tsn-pytorch",
    "own": "paddle.vision",
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_logits(form, model, state, expected, tmp_path):
    path = write(form, tmp_path, state, 18)
    report = load_weights(model, path)
    np.testing.assert_allclose(model(paddle.to_tensor(FRAMES)).numpy(), expected, atol=2e-5 * np.abs(expected).max())
    assert (report.family, report.matched) == (FORMATS[form], 5 * 20 + 2)
    assert str(report).startswith(f"{path}: 102 parameters loaded ({FORMATS[form]} names)")


@pytest.mark.parametrize("num_layers", [18, 34, 50, 152])
def test_names_of_every_depth(num_layers):
    """Each array is a different number, so only its name can match it."""
    names = [name for unit in units(num_layers) for name in unit_names(unit, num_layers, "fluid")]
    labels = {name: np.array([[number]]) for number, name in enumerate([*names, "fc_0.w_0", "fc_0.b_0"])}
    model = unfilled(TSN, CLASSES, num_layers=num_layers)
    expected = {name: label.item() for name, label in renamed(labels, "vision", num_layers, "backbone.").items()}
    for family in ("fluid", "paddlevideo", "paddleclas", "vision", "torch", "mmaction2", "mmaction2_tsm"):
        assert matched(renamed(labels, family, num_layers), model) == expected, family
    for family in ("tsn_pytorch", "mit_tsm"):
        for module in ("module.", ""):
            named = renamed(labels, family, num_layers, BEFORE[family])
            named = {module + name.removeprefix("module."): array for name, array in named.items()}
            assert matched(named, model) == expected, family


def matched(named: dict[str, np.ndarray], model: TSN) -> dict[str, int]:
    """Return {the model's name: its label in the file}, if all names match."""
    match = match_names(named, model, "weights", pretrain=False)
    assert not match.missing and not match.unexpected and not match.left_out
    return {name: label.item() for name, label in match.arrays.items()}


@pytest.mark.parametrize("num_layers", [18, 34, 50, 101, 152])
def test_names_of_resnet_vd(num_layers):
    names = [name for unit in units(num_layers, vd=True) for name in unit_names(unit, num_layers, "fluid")]
    labels = {name: np.array([[number]]) for number, name in enumerate([*names, "fc_0.w_0", "fc_0.b_0"])}
    model = unfilled(TSN, CLASSES, num_layers=num_layers, backbone="resnet_vd")
    expected = {n: label.item() for n, label in renamed(labels, "vision", num_layers, "backbone.", vd=True).items()}
    assert expected.keys() == model.state_dict().keys()
    for family in ("fluid", "paddlevideo_vd", "paddleclas", "vision"):
        assert matched(renamed(labels, family, num_layers, vd=True), model) == expected, family


@pytest.mark.parametrize("num_layers", [18, 34, 50, 101, 152])
@pytest.mark.parametrize("vd", [False, True])
def test_the_names_of_a_network_are_known_without_making_it(num_layers, vd):
    assert list(parameter_names(num_layers, vd)) == list(unfilled(ResNet, num_layers, vd=vd).state_dict())


def test_a_checkpoint_comes_back_bit_for_bit(small, tmp_path):
    path = tmp_path / "TSN_epoch3"
    paddle.save(small.state_dict(), f"{path}.pdparams")
    other = unfilled(TSN, CLASSES, num_layers=18)
    report = load_weights(other, path)
    says(report, f"{path}.pdparams: ", "102 parameters", "paddle.vision")
    for name, tensor in small.state_dict().items():
        assert np.array_equal(tensor.numpy(), other.state_dict()[name].numpy()), name


def test_our_own_resnet_vd_comes_back(tmp_path):
    models = [TSM(CLASSES, num_layers=18, backbone="resnet_vd") for _ in range(2)]
    paddle.save(models[0].state_dict(), f"{tmp_path}/TSM.pdparams")
    report = load_weights(models[1], tmp_path / "TSM")
    says(report, f"{tmp_path}/TSM.pdparams: ", "117 parameters", "our names")
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values()):
        assert np.array_equal(a.numpy(), b.numpy())


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
    variance = small.state_dict()["backbone.layer2.0.bn1._variance"].numpy()
    assert np.array_equal(variance, named["layer2.0.bn1.running_var"])
    assert np.array_equal(small.fc.weight.numpy(), named["fc.weight"].T)


def write_bfloat16(path, halves: dict[str, np.ndarray]) -> None:
    """Write .safetensors by hand, because NumPy has no bfloat16 for the package to write."""
    header, data = {}, b""
    for name, half in halves.items():
        place = [len(data), len(data) + half.nbytes]
        header[name] = {"dtype": "BF16", "shape": list(half.shape), "data_offsets": place}
        data += half.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("extra", ["fc_0.w_0_velocity_0", "learning_rate_0", "@LR_DECAY_COUNTER@"])
def test_the_originals_optimizer_state_is_left_out(extra, small, small_state, tmp_path):
    write_folder(tmp_path / "checkpoint", small_state | {extra: np.zeros(1, "int64")})
    report = load_weights(small, tmp_path / "checkpoint")
    says(report, f"{tmp_path}/checkpoint: ", "102 parameters", "Fluid names", "ignored: 1 entries")

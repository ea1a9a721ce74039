"""Mixed precision and layout on a simulated GPU: what is chosen, said and refused, and O2's copies of weights."""

import sys
from types import SimpleNamespace

import numpy as np
import paddle
import pytest

from conftest import says
from models.tsn import TSN
from training import amp
from training.amp import Amp, choose_amp
from training.environment import set_environment
from training.recipe import build_optimizer, freeze_stages
from utils.config.train_keys import TrainConfig
from utils.errors import InputError

# What GPUs compute in, by generation.
PASCAL, VOLTA, AMPERE = (), ("float16",), ("float16", "bfloat16")
NO_BFLOAT16 = "this GPU does not have bfloat16", "capability 8.0"
NO_FLOAT16 = "this GPU does not have float16", "capability 7.0"


@pytest.fixture
def flags(monkeypatch) -> dict[str, object]:
    """Provide the flags given to Paddle. A build for the CPU lacks them, and the scaler."""
    found = {}
    monkeypatch.setattr(paddle.amp, "GradScaler", lambda **how: None)
    monkeypatch.setattr(paddle, "set_flags", found.update)
    return found


def play(monkeypatch, has: tuple[str, ...]) -> None:
    monkeypatch.setattr(amp, "gpu_has", lambda dtype: dtype in has)


@pytest.mark.parametrize("device, has, keys, chosen, pieces", [
    ("cpu", (), {}, "off", ()),
    ("cpu", (), {"amp": "off"}, "off", ()),
    ("gpu", AMPERE, {}, "O1", ()),
    ("gpu", AMPERE, {"amp": "O2"}, "O2", ()),
    ("gpu", VOLTA, {"amp": "off"}, "off", ()),
    ("gpu", VOLTA, {"amp_dtype": "float16"}, "O1", ()),
    ("gpu", VOLTA, {"amp": "O1", "amp_dtype": "float16"}, "O1", ()),
    ("gpu", VOLTA, {}, "off", ("TRAIN.amp auto: off", *NO_BFLOAT16, "TRAIN.amp=O1", "TRAIN.amp_dtype=float16")),
    ("gpu", PASCAL, {}, "off", ("TRAIN.amp auto: off", *NO_BFLOAT16)),
    ("gpu", PASCAL, {"amp_dtype": "float16"}, "off", ("TRAIN.amp auto: off", *NO_FLOAT16)),
])  # fmt: skip
def test_what_auto_is(monkeypatch, capsys, device, has, keys, chosen, pieces):
    play(monkeypatch, has)
    train = TrainConfig(**keys)
    settled = choose_amp(train, device)
    assert (settled.amp, settled.amp_dtype) == (chosen, train.amp_dtype)
    said = capsys.readouterr().out
    assert bool(said) == bool(pieces) and ("TRAIN.amp=O1" in said) == ("TRAIN.amp=O1" in pieces)
    if pieces:
        says(said, *pieces)
    assert choose_amp(settled, device) == settled and capsys.readouterr().out == ""


@pytest.mark.parametrize("device, has, keys, pieces", [
    ("gpu", VOLTA, {"amp": "O1"}, ("TRAIN.amp O1: ", *NO_BFLOAT16, "set TRAIN.amp_dtype=float16")),
    ("gpu", VOLTA, {"amp": "O2"}, ("TRAIN.amp O2: ", *NO_BFLOAT16, "set TRAIN.amp_dtype=float16")),
    ("gpu", PASCAL, {"amp": "O1"}, ("TRAIN.amp O1: ", *NO_BFLOAT16, "set TRAIN.amp=off")),
    ("gpu", PASCAL, {"amp": "O1", "amp_dtype": "float16"}, ("TRAIN.amp O1: ", *NO_FLOAT16, "set TRAIN.amp=off")),
    ("gpu", AMPERE, {"sync_batch_norm": True, "freeze_batch_norm": True},
     ("TRAIN.sync_batch_norm and TRAIN.freeze_batch_norm ", "both True", "set TRAIN.sync_batch_norm=False")),
])  # fmt: skip
def test_what_is_refused(monkeypatch, flags, device, has, keys, pieces):
    play(monkeypatch, has)
    with pytest.raises(InputError) as raised:
        Amp(TrainConfig(**keys), device, seeded=False)
    says(raised.value, *pieces)


@pytest.mark.parametrize("keys, slower", [
    ({}, "bfloat16"),
    ({"amp": "O2"}, "bfloat16"),
    ({"amp": "off"}, "float32"),
    ({"amp": "off", "amp_dtype": "float16"}, "float32"),
    ({"amp_dtype": "float16"}, ""),
    ({"amp": "O2", "amp_dtype": "float16"}, ""),
])  # fmt: skip
def test_channels_last_gains_in_float16_alone(monkeypatch, capsys, flags, keys, slower):
    play(monkeypatch, AMPERE)
    Amp(TrainConfig(channels_last=True, **keys), "gpu", seeded=False)
    assert flags.get("FLAGS_cudnn_batchnorm_spatial_persistent", False) == (not slower)
    said = capsys.readouterr().out
    assert said.startswith(f"warning: TRAIN.channels_last is slower in {slower}, ") if slower else said == ""


@pytest.fixture
def decorated(monkeypatch, flags, narrow_networks):
    """Provide a function that decorates a model as on a GPU and returns (model, optimizer, weights before)."""
    module = sys.modules["paddle.amp.auto_cast"]
    place = SimpleNamespace(is_gpu_place=lambda: True, is_xpu_place=lambda: False, is_custom_place=lambda: False)
    monkeypatch.setattr(module, "_dygraph_tracer", lambda: SimpleNamespace(_expected_place=place))
    for dtype in AMPERE:
        monkeypatch.setattr(module, f"_is_gpu_{dtype}_supported", lambda: True)
    play(monkeypatch, AMPERE)

    def decorate(dtype: str, frozen: int = 0):
        train = TrainConfig(amp="O2", amp_dtype=dtype)
        model = TSN(3, num_layers=18)
        freeze_stages(model, frozen)
        before = {name: tensor.numpy() for name, tensor in [*model.named_parameters(), *model.named_buffers()]}
        return *Amp(train, "gpu", seeded=False).prepare(model, build_optimizer(model, train)), before

    return decorate


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("frozen", [0, 2])
def test_o2_steps_copies_of_the_weights_as_they_were(decorated, dtype, frozen):
    model, optimizer, before = decorated(dtype, frozen)
    assert model.fc.weight.dtype == getattr(paddle, dtype)
    copies = optimizer.state_dict()["master_weights"]
    low = {name: p for name, p in model.named_parameters() if p.dtype != paddle.float32}
    assert len(low) == len(copies) > 10 and not any(p.stop_gradient for p in low.values())
    for name, parameter in low.items():
        assert np.array_equal(copies[parameter.name].numpy(), before[name]), name


def test_o2_leaves_the_normalisation_of_frames_as_it_is(decorated):
    model, _, before = decorated("bfloat16")
    for name in ("scale", "shift"):
        buffer = getattr(model, name)
        assert buffer.dtype == paddle.float32 and np.array_equal(buffer.numpy(), before[name])
    assert set(model.state_dict()) == before.keys() - {"scale", "shift"}  # still not among the weights


def test_a_step_leaves_no_gradient():
    model = paddle.nn.Linear(1, 1)
    model(paddle.ones([1, 1])).backward()
    Amp(TrainConfig(amp="off"), "cpu", seeded=False).step(paddle.optimizer.Momentum(parameters=model.parameters()))
    assert [parameter.grad for parameter in model.parameters()] == [None, None]


@pytest.mark.parametrize("given, megabytes", [({}, "1000"), ({"FLAGS_conv_workspace_size_limit": "64"}, "64")])
def test_a_gpus_convolutions_may_take_more_memory_than_paddle_lets_them(monkeypatch, given, megabytes):
    monkeypatch.setattr("training.environment.os", SimpleNamespace(environ=given))
    set_environment()
    assert given["FLAGS_conv_workspace_size_limit"] == megabytes

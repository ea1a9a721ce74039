"""Prediction on a GPU, played by the CPU: the precision, what the log says of it, and too little memory."""

from collections.abc import Callable
from contextlib import contextmanager

import numpy as np
import paddle
import pytest

from conftest import says
from fake_gpu import FakeGpu
from inference import network
from inference.eager import eager_start
from inference.network import load_network
from models.tsn import TSN
from utils.config.loading import load_config
from utils.errors import InputError, RunError
from utils.processes import precision
from weight_formats import random_state, write_pickle

pytestmark = pytest.mark.usefixtures("narrow_networks")
OUT = "Out of memory error on GPU 0. Cannot allocate 1GB memory on GPU 0, available memory is only 7MB"


@pytest.fixture
def casts(monkeypatch) -> list[dict]:
    """Record how Paddle is asked to compute, on a GPU that has bfloat16 and float16."""
    FakeGpu(done=True).install(monkeypatch)
    asked = []

    @contextmanager
    def auto_cast(**how):
        asked.append(how)
        yield

    monkeypatch.setattr(paddle.amp, "auto_cast", auto_cast)
    monkeypatch.setattr(precision, "gpu_has", lambda dtype: True)
    monkeypatch.setattr(network, "use_device", lambda device: None)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    return asked


@pytest.fixture(scope="module")
def on_gpu(workspace, tmp_path_factory) -> Callable[..., network.Network]:
    """Return a function: section of the configuration, keys -> its network with random weights."""
    weights = tmp_path_factory.mktemp("gpu") / "random.pdparams"
    write_pickle(weights, random_state(18, 4, narrow=True))

    def load(section: str, **keys: str) -> network.Network:
        given = {f"{section}.{key}": value for key, value in (keys | {"weights": str(weights)}).items()}
        config = load_config(workspace.folder / "tiny.yaml", given)
        return load_network(config, getattr(config, section.lower()), "gpu", 5)

    return load


@pytest.mark.parametrize("section, wanted, computed", [
    ("INFER", "auto", "bfloat16"),
    ("INFER", "bfloat16", "bfloat16"),
    ("TEST", "float16", "float16"),
    ("TEST", "float32", "float32 (TF32)"),
    ("INFER", "int8", "float32 (TF32)"),
])  # fmt: skip
def test_the_precision_is_computed_in_and_said(on_gpu, casts, capsys, section, wanted, computed):
    loaded = on_gpu(section, precision=wanted)
    assert loaded.precision == f"{computed} on gpu (eager)" and loaded.description.startswith(f"{loaded.precision}, ")
    said = capsys.readouterr().out
    assert bool(said) == (wanted == "int8")
    if said:
        says(said, "precision int8 ", "for the CPU's engine", "TSN", "float32 on the gpu")
    logits = loaded(np.zeros((2, 3, 32, 32, 3), np.uint8))
    assert logits.shape == (2, 4) and logits.dtype == np.float32
    assert casts == ([] if "32" in computed else [{"level": "O1", "dtype": computed}])


def test_what_the_gpu_does_not_have_is_an_error_before_weights_are_loaded(on_gpu, casts, monkeypatch):
    monkeypatch.setattr(precision, "gpu_has", lambda dtype: dtype == "float16")
    with pytest.raises(InputError) as error:
        on_gpu("INFER", precision="bfloat16")
    says(error.value, "--precision=bfloat16: ", "this GPU", "capability 8.0", "float16 is the fastest")


@pytest.mark.parametrize("section", ["TEST", "INFER"])
@pytest.mark.parametrize("part", ["features", "classify"])
def test_a_lack_of_memory_names_the_batch_size(on_gpu, casts, monkeypatch, section, part):
    loaded = on_gpu(section, precision="float32")

    def fail(*_):
        raise MemoryError(f"ResourceExhaustedError:\n\n{OUT}.\n\nPlease check whether ...\n")

    monkeypatch.setattr(TSN, part, fail)
    with pytest.raises(RunError) as raised:
        loaded(np.zeros((2, 3, 32, 32, 3), np.uint8))
    says(raised.value, "out of memory on the gpu: ", OUT, f"{section}.batch_size smaller")


def test_the_classifier_is_not_rounded():
    """Rounding would give classes with similar logits the same logit."""
    model = TSN(4, num_layers=18)
    model.eval()
    inside = []

    @contextmanager
    def autocast():
        inside.append(True)
        yield
        inside.clear()

    classify = model.classify
    model.classify = lambda features: classify(features) if not inside else pytest.fail("in low precision")
    eager_start(model, autocast)(np.zeros((1, 2, 32, 32, 3), np.uint8))()

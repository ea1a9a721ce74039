"""A small network, weights for it, and files that seem to hold given weights."""

from collections.abc import Iterator

import numpy as np
import pytest

from conftest import says
from models.tsn import TSN
from models.weights.fitting import load_weights
from narrow import narrow_here
from utils.errors import InputError
from weight_formats import random_state

CLASSES = 6


@pytest.fixture(scope="module")
def all_narrow() -> Iterator[None]:
    """Give all ResNets of a file an eighth of their channels."""
    with pytest.MonkeyPatch.context() as patch:
        narrow_here(patch.setattr)
        yield


@pytest.fixture(scope="module")
def small(all_narrow) -> TSN:
    return TSN(CLASSES, num_layers=18).eval()


@pytest.fixture(scope="module")
def small_state() -> dict[str, np.ndarray]:
    return random_state(18, CLASSES, seed=6, narrow=True)


@pytest.fixture
def file_with(tmp_path, monkeypatch):
    """Provide a function: state -> path of a file that reads as this state, without the cost of writing it."""

    def make(state: dict[str, np.ndarray]):
        (tmp_path / "w.pdparams").touch()
        monkeypatch.setattr("models.weights.fitting.read_weights", lambda path: dict(state))
        return tmp_path / "w.pdparams"

    return make


@pytest.fixture
def refused(file_with):
    """Provide a check that a model refuses a file with one line: the path, then these words in this order."""

    def check(model, state: dict[str, np.ndarray], words: str, **options) -> None:
        path = file_with(state)
        with pytest.raises(InputError) as error:
            load_weights(model, path, **options)
        says(error.value, f"{path}: ", *words.split())

    return check

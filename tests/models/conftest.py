"""A small network, weights for it, and files that read as them."""

import numpy as np
import pytest

from models.tsn import TSN
from weight_formats import random_state

CLASSES = 6


@pytest.fixture(scope="module")
def small() -> TSN:
    return TSN(CLASSES, num_layers=18).eval()


@pytest.fixture(scope="module")
def small_state() -> dict[str, np.ndarray]:
    return random_state(18, CLASSES, seed=6)


@pytest.fixture
def file_with(tmp_path, monkeypatch):
    """Provide a function: state -> path of a file that reads as that state, without the cost of writing it."""

    def make(state: dict[str, np.ndarray]):
        (tmp_path / "w.pdparams").touch()
        monkeypatch.setattr("models.weights.fitting.read_weights", lambda path: dict(state))
        return tmp_path / "w.pdparams"

    return make

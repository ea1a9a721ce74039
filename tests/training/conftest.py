"""An undisturbed training to compare others with, and checkpoints of a network of four numbers."""

import sys
from collections.abc import Callable
from pathlib import Path

import paddle
import pytest

from fault_tools import train_narrow
from training.checkpoint import Progress, save_checkpoint
from training.start import describe_run
from utils.config.loading import load_config


def pytest_collection_modifyitems(items):
    if not sys.platform.startswith("linux"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="looks for processes in /proc"))


@pytest.fixture(scope="session")
def undisturbed(workspace, tmp_path_factory) -> Path:
    """Provide the save_dir of a narrow run of 3 epochs that nothing stopped."""
    return train_narrow(workspace, tmp_path_factory.mktemp("undisturbed"), "--epoch=3", "--report=True").save_dir


@pytest.fixture
def small():
    """Provide (model, optimizer) of a network of four numbers, after a step."""
    model = paddle.nn.Linear(1, 2)
    optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters())
    model(paddle.ones([1, 1])).sum().backward()
    optimizer.step()
    return model, optimizer


@pytest.fixture
def about(workspace) -> dict:
    """Provide a manifest's facts about the workspace's configuration."""
    return describe_run(load_config(str(workspace.folder / "tiny.yaml"), {}, ()), {})


@pytest.fixture
def saved(small, about, tmp_path) -> Callable[[str, int, int], Path]:
    """Provide a function that writes a checkpoint at (epoch, step) and returns its prefix."""

    def save(name: str, epoch: int, step: int) -> Path:
        save_checkpoint(tmp_path / name, *small, Progress(epoch, step, 5, 10, 4), about)
        return tmp_path / name

    return save

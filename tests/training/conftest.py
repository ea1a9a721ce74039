"""A training that nothing disturbs, to compare disturbed ones with."""

import sys
from pathlib import Path

import pytest

from fault_tools import train

# Checkpoints after every step.
OFTEN = ("--epoch=3", "--set", "TRAIN.checkpoint_minutes=0.00001")


def pytest_collection_modifyitems(items):
    if not sys.platform.startswith("linux"):
        for item in items:
            item.add_marker(pytest.mark.skip(reason="looks for processes in /proc"))


@pytest.fixture(scope="session")
def undisturbed(workspace, tmp_path_factory) -> Path:
    """The save_dir of a run of 3 epochs that was never stopped."""
    return train(workspace, tmp_path_factory.mktemp("undisturbed"), *OFTEN).save_dir

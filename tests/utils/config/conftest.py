"""Share a fixture among the tests of utils/config."""

from pathlib import Path

import pytest


@pytest.fixture
def write_config(tmp_path, monkeypatch):
    """Provide a function that writes x.yaml into an empty current folder and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes) -> str:
        Path("x.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
        return "x.yaml"

    return write

"""Test what the error about a missing package says to install."""

import pytest

from conftest import says
from utils import packages
from utils.errors import InputError


@pytest.mark.parametrize("gpu_build, file, named", [
    (None, "requirements.txt", "requirements.txt"),
    ("3.3.1", "requirements.txt", "requirements-gpu.txt"),
    ("3.3.1", "requirements-int8.txt", "requirements-int8.txt"),
])  # fmt: skip
def test_a_paddle_for_gpus_is_not_replaced_by_that_for_the_cpu(monkeypatch, gpu_build, file, named):
    monkeypatch.setattr(packages, "installed_version", {"paddlepaddle-gpu": gpu_build}.get)
    with pytest.raises(InputError) as raised:
        packages.import_extra("not_there", "decoder x", file)
    says(raised.value, "decoder x ", "not_there", f"pip install -r {named}")

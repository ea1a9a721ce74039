"""A fake of a machine with GPUs: a paddle that reports GPUs and has the GPU build's name. It cannot compute."""

from pathlib import Path

# PLAYED_PACKAGES lists the installed packages of Paddle, as "paddlepaddle-gpu 3.3.1,paddlepaddle 3.3.1".
SITE = """
import os
from importlib import metadata

real = metadata.version
played = dict(line.split() for line in os.environ["PLAYED_PACKAGES"].split(",") if line)


def version(name):
    if name in played:
        return played[name]
    if name.startswith("paddlepaddle"):
        raise metadata.PackageNotFoundError(name)
    return real(name)


metadata.version = version
"""

# Like CUDA, it counts the GPUs in CUDA_VISIBLE_DEVICES up to the first unknown one. The rank PLAYED_BLIND sees none.
PADDLE = """
import os
from types import SimpleNamespace


def device_count():
    known = [str(number) for number in range(int(os.environ["PLAYED_GPUS"]))]
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if os.environ.get("PLAYED_BLIND") == os.environ.get("PADDLE_TRAINER_ID", ""):
        return 0
    seen = known if names is None else names.split(",")
    for number, name in enumerate(seen):
        if name not in known:
            return number
    return len(seen)


def is_compiled_with_cuda():
    return "paddlepaddle-gpu" in os.environ["PLAYED_PACKAGES"]


device = SimpleNamespace(cuda=SimpleNamespace(device_count=device_count))
"""


def play_gpus(folder: Path, gpus: int, packages: str = "paddlepaddle-gpu 3.3.1") -> dict[str, str]:
    """Return the environment of a program that finds these GPUs and packages. folder: for the fake's files."""
    (folder / "paddle").mkdir(parents=True)
    (folder / "paddle" / "__init__.py").write_text(PADDLE)
    (folder / "sitecustomize.py").write_text(SITE)
    return {"PYTHONPATH": str(folder), "PLAYED_GPUS": str(gpus), "PLAYED_PACKAGES": packages}

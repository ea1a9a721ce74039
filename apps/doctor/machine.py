"""Describe this machine without loading Paddle; Paddle's own report is given."""

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from utils.processes.device import BOTH_BUILDS, INSTALL_FOR_GPUS, has_both_builds, listed_devices
from utils.processes.limits import available_cores, available_memory
from utils.processor import has_bfloat16, processor
from utils.storage.files import cache_folder

ROOT = Path(__file__).resolve().parents[2]


def describe(paddle: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (name, value) for everything that the toolkit depends on. paddle: from apps/doctor/programs.py, or {}."""
    yield "system", f"{platform.platform()}, Python {platform.python_version()} ({sys.executable})"
    name = platform.processor() or platform.machine()
    if features := processor():
        name = re.split(r" fpu | fp ", features)[0]  # the first feature on x86-64 and on ARM
    bfloat16 = "with" if has_bfloat16() else "without"
    yield "processor", f"{name}, {bfloat16} bfloat16, cores to use: {available_cores()}"
    memory = available_memory()
    yield "memory", "unknown" if memory is None else f"{memory / 2**30:.1f} GB free"
    yield "disk", ", ".join(f"{_free(folder)} free at {folder}" for folder in (ROOT, cache_folder()) if folder)
    if paddle:
        build = f"CUDA {paddle['cuda']}, cuDNN {paddle['cudnn']}" if paddle["cuda"] else "built for the CPU"
        yield "Paddle", f"{paddle['version']}, {build}"
        yield "GPU", "; ".join(paddle["gpus"]) or "none that Paddle sees"
    yield "OpenVINO", _version("openvino")
    yield "packages", ", ".join(f"{name} {_version(name)}" for name in _names())


def _free(folder: Path) -> str:
    while not folder.exists():
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / 2**30:.1f} GB"


def _names() -> list[str]:
    """Return the optional packages besides Paddle and OpenVINO."""
    files = ("requirements.txt", "requirements-gpu.txt", "requirements-cluster.txt", "requirements-int8.txt")
    lines = [line for file in files for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    found = [re.match(r"[A-Za-z][\w.-]*", line) for line in lines]
    names = dict.fromkeys(match[0] for match in found if match)
    return [name for name in names if not name.startswith(("paddle", "openvino"))]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def package_problem(requirements: str) -> str:
    """Return pip's message about missing packages or wrong versions, or that two Paddles are installed; "" if neither.

    Without pip, only two Paddles are noticed.
    """
    if has_both_builds():
        return BOTH_BUILDS
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--quiet"]
    command += ["--disable-pip-version-check", "-r", str(ROOT / requirements)]
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace")
    errors = [line.removeprefix("ERROR: ") for line in ended.stderr.splitlines() if line.startswith("ERROR: ")]
    return errors[-1] if ended.returncode and errors else ""


def listed_gpus() -> list[str]:
    """Return the GPUs that NVIDIA's driver lists."""
    try:
        ended = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, errors="replace", timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.partition(" (UUID")[0] for line in ended.stdout.splitlines() if line.startswith("GPU ")]


def gpu_problem(cuda: str, seen: int, visible: str | None, listed: list[str]) -> tuple[str, str]:
    """Return (what is wrong with the GPUs, what to do), or two empty texts.

    cuda: the version that Paddle was built for, "" for the CPU. seen: GPUs that Paddle sees. visible:
    CUDA_VISIBLE_DEVICES. listed: the driver's GPUs.
    """
    wanted = len(listed) if not visible else len(listed_devices(visible))
    if visible is not None and not listed_devices(visible):
        wanted = 0  # hidden on purpose
    if seen >= wanted or not listed:
        return "", ""
    here = f"the driver lists {len(listed)} ({listed[0]})"
    if visible:
        here += f", CUDA_VISIBLE_DEVICES lists {wanted} ({visible})"
    if not cuda:
        return f"{here}, but this Paddle is built for the CPU", INSTALL_FOR_GPUS
    return (
        f"{here}, but Paddle sees {seen or 'none'}",
        f"check with nvidia-smi that the driver supports CUDA {cuda}, and check CUDA_VISIBLE_DEVICES",
    )

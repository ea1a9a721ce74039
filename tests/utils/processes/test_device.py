"""Test the choice of the device, and that paddle is imported only if it is needed for that."""

import re
import signal
import subprocess
import sys
import types

import pytest

from conftest import ROOT, says
from utils.errors import InputError, RunError
from utils.processes import device

CPU_BUILD = "this paddlepaddle is a CPU build (see requirements-gpu.txt)"
NO_PADDLE = "paddlepaddle-gpu is not installed (see requirements-gpu.txt)"
NO_CUDA = "this paddlepaddle-gpu is not built for CUDA (see requirements-gpu.txt)"
NO_GPU = "no GPU is visible (see CUDA_VISIBLE_DEVICES)"


def install(monkeypatch, package: str, gpus: int) -> None:
    """Simulate a machine with this number of GPUs and an installed build of paddle: "gpu", "cpu", or "" for none."""

    def is_compiled_with_cuda() -> bool:
        assert "gpu" in package, "asked a CPU build"
        return package == "gpu"

    cuda = types.SimpleNamespace(device_count=lambda: gpus)
    paddle = types.SimpleNamespace(is_compiled_with_cuda=is_compiled_with_cuda, device=types.SimpleNamespace(cuda=cuda))
    paddle.__spec__ = "found"
    versions = {"paddlepaddle-gpu": "3.3.1"} if "gpu" in package else {"paddlepaddle": "3.3.1"} if package else {}
    monkeypatch.setitem(sys.modules, "paddle", paddle if package else None)
    monkeypatch.setattr(device, "installed_version", versions.get)
    monkeypatch.setattr(device, "has_gpu", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    "package, gpus, missing",
    [("gpu", 2, ""), ("gpu", 0, NO_GPU), ("cpu", 2, CPU_BUILD), ("gpu of others", 2, NO_CUDA), ("", 2, NO_PADDLE)],
)
def test_the_gpu_where_there_is_one(monkeypatch, capsys, package, gpus, missing):
    install(monkeypatch, package, gpus)
    assert device.choose_device(False, demanded=False) == "cpu"
    assert capsys.readouterr().out == ""
    assert device.choose_device(True, demanded=False) == ("cpu" if missing else "gpu")
    assert capsys.readouterr().out == (f"running on the CPU: {missing}\n" if missing else "")
    if missing:
        error = missing.replace(" (see requirements-gpu.txt)", f": {device.INSTALL_FOR_GPUS}")
        with pytest.raises(InputError, match=f"^--use_gpu=True: {re.escape(error)}$"):
            device.choose_device(True, demanded=True)
    else:
        assert device.choose_device(True, demanded=True) == "gpu"
    assert capsys.readouterr().out == ""


def test_a_machine_without_a_gpu_needs_no_word_about_it(monkeypatch, capsys):
    install(monkeypatch, "cpu", 0)
    monkeypatch.setattr(device, "has_gpu", lambda: False)
    assert device.choose_device(True, demanded=False) == "cpu" and capsys.readouterr().out == ""


@pytest.mark.parametrize("capability, has", [((7, 0), ["float16"]), ((6, 1), []), ((9, 0), ["bfloat16", "float16"])])
def test_what_a_gpu_computes_in(monkeypatch, capability, has):
    install(monkeypatch, "gpu", 1)
    sys.modules["paddle"].device.cuda.get_device_capability = lambda: capability
    assert [dtype for dtype in ("bfloat16", "float16") if device.gpu_has(dtype)] == has


ON_GPU = "Out of memory error on GPU 0. Cannot allocate 1.5GB memory on GPU 0, 78.9GB memory has been allocated and"
PAGE = f"""

--------------------------------------
C++ Traceback (most recent call last):
ResourceExhaustedError:

{ON_GPU} available memory is only 700.3MB.

Please check whether there is any other process using GPU 0.
2. If no, please decrease the batch size of your model.
"""


@pytest.mark.parametrize("error, said", [
    (MemoryError(PAGE), f"{ON_GPU} available memory is only 700.3MB"),
    (SystemError(f"(Fatal) Operator conv2d raises a BadAlloc exception. The exception content is\n:{PAGE}"),
     f"{ON_GPU} available memory is only 700.3MB"),
    (OSError("(External) CUDA error(2), out of memory. \n  [Hint: ...]"), "CUDA error(2), out of memory"),
    (RuntimeError("(External) CUDNN error(4000), CUDNN_STATUS_ALLOC_FAILED. \n"),
     "(External) CUDNN error(4000), CUDNN_STATUS_ALLOC_FAILED"),
])  # fmt: skip
def test_a_lack_of_memory_is_one_line(error, said):
    with pytest.raises(RunError) as raised, device.memory_errors("gpu", "set TEST.batch_size smaller"):
        raise error
    says(raised.value, f"out of memory on the gpu: {said}: ", "set TEST.batch_size smaller")


def test_paddles_own_lack_of_memory_is_known():
    paddle = device.import_paddle()
    said = r"^out of memory on the cpu: Fail to alloc memory of 4\d+ size, error code is 12: x$"
    with pytest.raises(RunError, match=said), device.memory_errors("cpu", "x"):
        paddle.empty([10**13])


@pytest.mark.parametrize("error", [ValueError(PAGE), MemoryError(), RuntimeError("no kernel"), RunError(PAGE)])
def test_other_errors_stay_what_they_are(error):
    with pytest.raises(type(error)) as raised, device.memory_errors("gpu", "x"):
        raise error
    assert raised.value is error


def run_program(*lines: str) -> str:
    """Return what a program prints after it has imported `device`."""
    program = "\n".join(["import sys", "from utils.processes import device", *lines])
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_paddle_is_not_imported_for_a_cpu():
    asked = "device.choose_device(False, False)"
    if not device.has_gpu_build():
        asked += "; device.choose_device(True, False)"
    assert run_program(asked, "print('paddle' in sys.modules)").splitlines()[-1] == "False"


def test_sigterm_is_still_ours_with_paddle():
    """Import it in another thread, as serve.py does for heat maps."""
    said = run_program(
        "import signal; from threading import Thread",
        "signal.signal(signal.SIGTERM, lambda number, frame: print('ours', number))",
        "thread = Thread(target=device.use_device, args=['cpu'])",
        "thread.start(), thread.join()",
        "signal.raise_signal(signal.SIGTERM)",
        "print(sys.modules['paddle'].get_device())",
    )
    assert said == f"ours {signal.SIGTERM:d}\ncpu\n"

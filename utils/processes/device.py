"""The device that a script runs on, chosen once; paddle is imported only if there may be a GPU or Paddle computes."""

import ctypes
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import util
from itertools import takewhile

from utils.errors import InputError, RunError
from utils.log import say
from utils.packages import installed_version
from utils.processes.signals import signals_held
from utils.storage.copies import temporary_root

# The command of docs/devices.md and requirements-gpu.txt, which also repairs an environment with both builds.
REQUIREMENTS = "requirements-gpu.txt"
FOR_GPUS = f"-r {REQUIREMENTS} --extra-index-url https://www.paddlepaddle.org.cn/packages/stable/cu126/"
INSTALL_FOR_GPUS = f"pip uninstall -y paddlepaddle paddlepaddle-gpu && pip install {FOR_GPUS}"
BOTH_BUILDS = "paddlepaddle and paddlepaddle-gpu are both installed, and have written over each other's files"
# Since this version of Paddle a stream has its own memory. Before, the current step could overwrite a batch that was
# being copied to the GPU.
OLDEST = 3
# Environment variable of a rank that our launcher or Paddle's has started for a GPU.
FOR_GPU = "FLAGS_selected_gpus"
# Type -> the compute capability from which Paddle's mixed precision supports it.
CAPABILITIES = {"bfloat16": 8, "float16": 7}
# Lines that report a lack of memory: from Paddle's allocators for GPUs and the CPU, and from CUDA, cuDNN and cuBLAS.
_NO_MEMORY = re.compile(
    r"Out of memory error on .*|Fail to alloc memory of .*|CUDA error\(2\).*|.*CU(DNN|BLAS)_STATUS_ALLOC_FAILED.*"
)

# The C functions below signal.signal, which can only be called in the main thread.
_get_handler = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_int)(("PyOS_getsig", ctypes.pythonapi))
_set_handler = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(("PyOS_setsig", ctypes.pythonapi))


def import_paddle():
    """Import paddle, but keep our SIGTERM handler: the import installs one that ends the process on the spot."""
    temporary_root()  # the import needs it
    with signals_held():
        ours = _get_handler(signal.SIGTERM)
        import paddle

        _set_handler(signal.SIGTERM, ours)
    return paddle


def has_gpu_build() -> bool:
    """Return whether a paddle that may find GPUs is installed, by the name of its package, without importing it."""
    return installed_version("paddlepaddle-gpu") is not None


def has_gpu() -> bool:
    """Return whether this machine has an NVIDIA GPU, which the files of its driver show."""
    return any(map(os.path.exists, ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg")))


def has_both_builds() -> bool:
    """Return whether two packages claim to be paddle: each has overwritten files of the other."""
    return has_gpu_build() and installed_version("paddlepaddle") is not None


def gpus_to_use() -> list[str]:
    """Return the name of each visible GPU, as in CUDA_VISIBLE_DEVICES; [] if there is none (`choose_device` says why).

    Raise InputError if fewer GPUs are visible than are listed, or if the installed packages cannot use them.
    """
    if has_both_builds():
        raise InputError(f"{BOTH_BUILDS}: {INSTALL_FOR_GPUS}; --use_gpu=False runs on the CPU")
    if not has_gpu_build():
        return []
    paddle = import_paddle()
    seen = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    names = listed_devices(os.environ.get("CUDA_VISIBLE_DEVICES", ""))
    if len(names) > seen:
        # CUDA stops at the first name that it does not know: a rank for it would wait for ever, or run on the CPU.
        raise InputError(
            f"CUDA_VISIBLE_DEVICES={','.join(names)} lists {len(names)} GPUs, but Paddle sees {seen}: list only GPUs "
            "that nvidia-smi -L shows; --use_gpu=False runs on the CPU"
        )
    version = installed_version("paddlepaddle-gpu") or ""
    if seen and 0 < int(version.partition(".")[0]) < OLDEST:  # 0.0.0 is a private build
        raise InputError(f"paddlepaddle-gpu {version} is too old, {OLDEST}.3 is needed on a GPU: {INSTALL_FOR_GPUS}")
    return names or [str(number) for number in range(seen)]


def listed_devices(visible: str) -> list[str]:
    """Return the names in CUDA_VISIBLE_DEVICES; -1 ends the list, and Slurm writes NoDevFiles for none."""
    names = [name.strip() for name in visible.split(",") if name.strip()]
    return list(takewhile(lambda name: name not in ("-1", "NoDevFiles"), names))


def choose_device(wanted: bool, demanded: bool) -> str:
    """Return the device, "gpu" or "cpu"; see `use_device`. Print why it is the CPU if a GPU could have been used.

    Args:
        wanted: the configuration's use_gpu; False is the CPU.
        demanded: use_gpu=True came from a flag or --set: then a missing GPU is an error. It is also an error in a rank
            that a launcher has started for a GPU: the other ranks would wait for one that is on the CPU.

    Raises:
        InputError: a GPU is demanded, but paddle is a CPU build, not installed, or sees no GPU; or see `gpus_to_use`.
    """
    missing, see = _missing() if wanted else ("", "")
    what_to_do = f": {INSTALL_FOR_GPUS}" if see == REQUIREMENTS else f" (see {see})"
    if missing and demanded:
        raise InputError(f"--use_gpu=True: {missing}{what_to_do}")
    if missing and FOR_GPU in os.environ:
        here = f"{FOR_GPU}={os.environ[FOR_GPU]}, CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES', '')}"
        raise InputError(f"a launcher has started this process for a GPU ({here}), but {missing}{what_to_do}")
    if missing and (has_gpu_build() or has_gpu()):
        say(f"running on the CPU: {missing} (see {see})")
    return "gpu" if wanted and not missing else "cpu"


def use_device(device: str) -> None:
    """Import paddle and make it compute on "gpu" or "cpu" from now on: call it before building a network."""
    import_paddle().set_device(device)


def gpu_has(dtype: str) -> bool:
    """Return whether this process's GPU computes in "bfloat16" or "float16" faster than in float32."""
    return import_paddle().device.cuda.get_device_capability()[0] >= CAPABILITIES[dtype]


@contextmanager
def memory_errors(device: str, remedy: str) -> Iterator[None]:
    """Open a context in which Paddle's lack of memory on the device becomes a RunError of one line.

    remedy: the end of that line. Paddle's own error is a page long: a MemoryError, or another error from an operator or
    one of NVIDIA's libraries.
    """
    try:
        yield
    except (MemoryError, RuntimeError, SystemError, OSError) as error:
        if not (found := _NO_MEMORY.search(str(error))):
            raise
        raise RunError(f"out of memory on the {device}: {found[0].strip().rstrip('.')}: {remedy}") from None


def _missing() -> tuple[str, str]:
    """Return (why there is no GPU, where to look); ("", "") if there is one. Raise InputError as `gpus_to_use` does."""
    if gpus_to_use():
        return "", ""
    if not has_gpu_build():
        if util.find_spec("paddle") is None:
            return "paddlepaddle-gpu is not installed", REQUIREMENTS
        return "this paddlepaddle is a CPU build", REQUIREMENTS
    if not import_paddle().is_compiled_with_cuda():
        return "this paddlepaddle-gpu is not built for CUDA", REQUIREMENTS
    return "no GPU is visible", "CUDA_VISIBLE_DEVICES"

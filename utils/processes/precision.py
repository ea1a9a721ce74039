"""What the network is computed in, decided once and said."""

import os

from utils.errors import InputError
from utils.processes.device import CAPABILITIES, gpu_has
from utils.processor import BFLOAT16, has_bfloat16


def choose_precision(wanted: str) -> str:
    """Return "float32", "bfloat16" or "int8" for `wanted`, which may also be "auto": bfloat16 where the CPU has it.

    auto may mean bfloat16 because it changes next to nothing: benchmarks/precision.py measures how little.

    Raises:
        InputError: bfloat16 is wanted, and the processor does not have it; or float16, which is for GPUs.
    """
    native = has_bfloat16()
    if wanted == "bfloat16" and not native:
        names = " or ".join(sorted(BFLOAT16))
        raise InputError(
            f"--precision=bfloat16: this processor has no arithmetic for it ({names}); float32 is the fastest here"
        )
    if wanted == "float16":
        fastest = "bfloat16" if native else "float32"
        raise InputError(f"--precision=float16 is for a GPU; {fastest} is the fastest here, on the CPU")
    if wanted == "auto":
        return "bfloat16" if native else "float32"
    return wanted


def choose_gpu_precision(wanted: str) -> str:
    """Return "float32", "bfloat16" or "float16" for `wanted` on a GPU.

    auto is bfloat16 where the GPU has it, and int8, which is the CPU's, float32.

    Raises:
        InputError: the GPU does not have what is wanted: Paddle would warn, and compute in float32.
    """
    if wanted == "auto":
        return "bfloat16" if gpu_has("bfloat16") else "float32"
    if wanted == "int8":
        return "float32"
    if wanted in CAPABILITIES and not gpu_has(wanted):
        fastest = "float16" if wanted == "bfloat16" and gpu_has("float16") else "float32"
        raise InputError(
            f"--precision={wanted}: this GPU does not have it, which begins with compute capability "
            f"{CAPABILITIES[wanted]}.0; {fastest} is the fastest here"
        )
    return wanted


def describe_gpu_precision(precision: str) -> str:
    """Return its name beside results: float32 is TF32 in the convolutions of GPUs that have it, with 10 bits for 23.

    Ampere was the first, which brought bfloat16 as well. Paddle allows cuDNN and cuBLAS to use it; NVIDIA's variable
    NVIDIA_TF32_OVERRIDE=0 forbids it.
    """
    tf32 = precision == "float32" and gpu_has("bfloat16") and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
    return "float32 (TF32)" if tf32 else precision

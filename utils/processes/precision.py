"""The choice of the precision in which the network is computed, made once per run."""

import os

from utils.errors import InputError
from utils.processes.device import CAPABILITIES, gpu_has
from utils.processor import BFLOAT16, has_bfloat16


def choose_precision(wanted: str) -> str:
    """Return "float32", "bfloat16" or "int8" for `wanted`, which may also be "auto": bfloat16 if the CPU has it.

    auto may choose bfloat16 because it changes next to nothing: benchmarks/precision.py measures how little.

    Raises:
        InputError: bfloat16 is wanted but the processor does not have it, or float16 is wanted, which is for GPUs.
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

    auto is bfloat16 if the GPU has it, else float32. int8, which only the CPU has, becomes float32.

    Raises:
        InputError: the GPU does not have the wanted precision: Paddle would only warn, and compute in float32.
    """
    if wanted == "auto":
        return "bfloat16" if gpu_has("bfloat16") else "float32"
    if wanted == "int8":
        return "float32"
    if wanted in CAPABILITIES and not gpu_has(wanted):
        fastest = "float16" if wanted == "bfloat16" and gpu_has("float16") else "float32"
        raise InputError(
            f"--precision={wanted}: this GPU does not have it: it needs compute capability "
            f"{CAPABILITIES[wanted]}.0 or higher; {fastest} is the fastest here"
        )
    return wanted


def describe_gpu_precision(precision: str) -> str:
    """Return the name to print with results: on GPUs that have TF32, float32 convolutions have 10 bits instead of 23.

    GPUs have TF32 since Ampere, which also brought bfloat16. Paddle lets cuDNN and cuBLAS use it; NVIDIA's variable
    NVIDIA_TF32_OVERRIDE=0 forbids it.
    """
    tf32 = precision == "float32" and gpu_has("bfloat16") and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0"
    return "float32 (TF32)" if tf32 else precision

"""float32 or bfloat16 on the CPU, decided once and said."""

from pathlib import Path

from utils.errors import InputError

# Without one of them bfloat16 is emulated, slower than float32, or ignored by paddle.
_NATIVE = {"avx512_bf16", "amx_bf16"}


def choose_precision(wanted: str) -> str:
    """ "float32" or "bfloat16" for `wanted`, which may also be "auto": bfloat16 where the processor has it.

    auto may mean bfloat16 because it changes next to nothing: benchmarks/precision.py measures how little.

    Raises:
        InputError: bfloat16 is wanted, and the processor does not have it.
    """
    native = has_bfloat16()
    if wanted == "bfloat16" and not native:
        names = " or ".join(sorted(_NATIVE))
        raise InputError(
            f"--precision=bfloat16: this processor has no arithmetic for it ({names}); float32 is the fastest here"
        )
    if wanted == "auto":
        return "bfloat16" if native else "float32"
    return wanted


def has_bfloat16() -> bool:
    """Whether the processor says that it computes in bfloat16; known on Linux only."""
    return not _NATIVE.isdisjoint(processor().split())


def processor() -> str:
    """The processor's name and features, as Linux tells them; elsewhere nothing."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = text.partition("\n\n")[0].splitlines()  # of the first core
    return " ".join(line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags")))

"""Report the processor's features."""

from pathlib import Path

# Without one of these, bfloat16 is emulated (slower than float32) or ignored.
BFLOAT16 = {"avx512_bf16", "amx_bf16"}


def has_bfloat16() -> bool:
    """Return whether the processor reports bfloat16 arithmetic; False if the system is not Linux."""
    return not BFLOAT16.isdisjoint(processor().split())


def processor() -> str:
    """Return the processor's name and features as Linux reports them; "" on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    lines = text.partition("\n\n")[0].splitlines()  # of the first core
    return " ".join(line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "flags")))

"""What stands in fences in the documentation: commands, programs, and what they print."""

import re
from dataclasses import dataclass
from pathlib import Path

from conftest import ROOT

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What differs from run to run and from machine to machine: numbers, digests, the arithmetic, and with random weights
# the likeliest classes.
_VARIES = (
    (r"sha256 [0-9a-f]{12}", "sha256 DIGEST"),
    (r"\b(bfloat16|float32)\b", "PRECISION"),
    (r"^(  \d\.\d{6}  )\S+$", r"\1LABEL"),
    (r'"label":"\w+"', '"label":"LABEL"'),
    (r"(?<=  |, )[^,;\n]+ (\d+\.\d%)", r"LABEL \1"),
    (r"(?<=\S) {2,}(?=\d)", " "),  # short numbers are moved to the right
    (r"[-+]?\d+(\.\d+)?(e-?\d+)?", "N"),
)


@dataclass(frozen=True)
class Block:
    """What stands in a fence. kind: the word behind its first three backticks."""

    kind: str
    text: str

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(self.text.splitlines())


def read_page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def english_pages() -> list[str]:
    """Return the README and all of docs/, as paths from the root."""
    return ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))]


def chinese(page: str) -> str:
    """Return where the same page stands in Chinese."""
    path = Path(page)
    return f"docs/zh-CN/{path.name}" if path.parts[0] == "docs" else str(path.with_suffix(".zh-CN.md"))


def blocks(text: str) -> list[Block]:
    return [Block(*found) for found in _FENCE.findall(text)]


def commands(text: str) -> list[str]:
    """Return the lines of its fences for bash, each a command."""
    return [line for block in blocks(text) if block.kind == "bash" for line in block.lines]


def printed_blocks(text: str) -> list[tuple[tuple[str, ...], str]]:
    """Return (commands, what stands behind them as printed by them) in its order."""
    found, before = [], ()
    for block in blocks(text):
        if block.kind == "bash":
            before = block.lines
        elif block.kind == "text":
            found.append((before, block.text))
    return found


def is_printed(shown: str, output: str) -> bool:
    """Return whether the lines shown stand in turn in the output, but for what varies. `...` is any text."""
    pattern = re.escape(_without_what_varies(shown.strip("\n"))).replace(r"\.\.\.", ".*")
    return re.search(f"^{pattern}$", _without_what_varies(output), re.MULTILINE) is not None


def _without_what_varies(text: str) -> str:
    for pattern, name in _VARIES:
        text = re.sub(pattern, name, text, flags=re.MULTILINE)
    return text

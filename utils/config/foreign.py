"""Recognise files of PaddleVideo and mmaction2, and name the command that converts them."""

import re

PAGE = "docs/migration.md"
WHOSE = {"paddlevideo": "PaddleVideo", "mmaction2": "mmaction2"}
# The signs of a configuration: sections of PaddleVideo's YAML, calls and inheritance in mmaction2's Python.
_CONFIGS = {
    "paddlevideo": re.compile(r"^(?:DATASET|PIPELINE|OPTIMIZER)\s*:|^\s+framework\s*:", re.MULTILINE),
    "mmaction2": re.compile(r"\bdict\(\s*type\s*=|^_base_\s*=|^model\s*=\s*dict\(", re.MULTILINE),
}
# PaddleVideo's label list begins "0 abseiling"; mmaction2's has one name per line.
_NUMBERED = re.compile(r"\s*0\s+\S")


def config_advice(path: str, text: str) -> str:
    """Return whose configuration this is and the command that converts it; '' if it is unknown."""
    for peer, pattern in _CONFIGS.items():
        if pattern.search(text):
            return f"a configuration of {WHOSE[peer]}; {_command(peer, path)}"
    return ""


def labels_advice(path: str, data: bytes) -> str:
    """Return whose label list this is and the command that converts it; '' if it is unknown."""
    first = data[:1000].decode("utf-8", "replace").partition("\n")[0].strip()
    if not path.endswith(".txt") or not first.isprintable() or first[:1] in ("", "[", "{", "\ufffd"):
        return ""
    peer = "paddlevideo" if _NUMBERED.match(first) else "mmaction2"
    return f"a label list of {WHOSE[peer]}; {_command(peer, f'--labels={path}')}"


def list_advice(path: str, reason: str) -> str:
    """Return advice on a peer's list if none of its videos can be read. path, reason: of the first video."""
    if reason != "no such file":
        return ""
    frames = ", and for three columns MODEL.format=frames" if re.search(r"\S\s+\d+$", path) else ""
    peers = " and ".join(WHOSE.values())
    return f"; for a list of {peers} set MODEL.data_prefix to its data_prefix{frames} ({PAGE})"


def _command(peer: str, file: str) -> str:
    return f"convert it: python tools/convert.py --from={peer} {file} ({PAGE})"

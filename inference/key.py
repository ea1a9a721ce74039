"""The digest of everything that a compiled graph depends on: if anything differs, the graph is made again."""

import hashlib
import json
import platform
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from utils.config.shared_keys import ModelConfig
from utils.processor import processor

_ROOT = Path(__file__).parents[1]
_SOURCES = [*sorted((_ROOT / "models").rglob("*.py")), *sorted((_ROOT / "inference").glob("*.py"))]
_PACKAGES = ("openvino", "paddlepaddle", "paddlepaddle-gpu")


def graph_key(config: ModelConfig, image_size: int, weights: str, *more: str | None) -> str:
    """Return the SHA-256 of all that a compiled graph depends on. weights: their digest; more: further facts."""
    facts = {
        "model": asdict(config),
        "image_size": image_size,
        "weights": weights,
        "more": more,
        "code": [hashlib.sha256(source.read_bytes()).hexdigest() for source in _SOURCES],
        "versions": [(package, _version(package)) for package in _PACKAGES],
        "processor": [platform.machine(), processor()],
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""

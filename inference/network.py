"""A network ready to answer: uint8 frames in, logits out, whatever runs behind it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from models import build_model
from models.weights import load_weights
from utils.config import Config
from utils.config_keys import SectionConfig
from utils.download import published_tsn


@dataclass(frozen=True)
class Network:
    """A callable: uint8 frames [N, T, H, W, 3 * seglen] -> float32 logits [N, K]."""

    forward: Callable[[np.ndarray], np.ndarray]
    description: str  # engine, precision, weights: what a reported number depends on

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return self.forward(frames)


def load_network(config: Config, section: SectionConfig, weights: str | None, device: str) -> Network:
    """The configured model with `weights` (None: the published ones). Raises InputError when they do not fit."""
    path = Path(weights or published_tsn())
    model = build_model(config.model)
    report = load_weights(model, path)
    model.eval()

    def forward(frames: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            return model(paddle.to_tensor(frames)).numpy()

    return Network(forward, f"float32 on {device} (eager), weights {describe_file(report.path)}")


def describe_file(path: Path) -> str:
    """The path with the beginning of the SHA-256 of its content, which tells two weights of one name apart."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return f"{path} (sha256 {digest.hexdigest()[:12]})"

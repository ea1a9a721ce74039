"""A network ready to answer: uint8 frames in, logits out, whatever runs behind it."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from inference.exported import is_exported, load_graph
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


def load_model(config: Config, weights: str | None) -> tuple[paddle.nn.Layer, Path]:
    """The configured model in evaluation mode with `weights` (None: the published ones), and where they came from."""
    model = build_model(config.model)
    report = load_weights(model, weights or published_tsn())
    model.eval()
    return model, report.path


def load_network(config: Config, section: SectionConfig, weights: str | None, device: str) -> Network:
    """The network for a section's clips; `weights` may also be a folder that export.py wrote.

    Raises InputError when the weights are missing or do not fit.
    """
    if weights and is_exported(Path(weights)):
        probabilities = load_graph(Path(weights), config, section, device)
        # Logits that give these probabilities; the smallest normal number stands for one that came out as zero.
        tiny = np.finfo(np.float32).tiny
        description = f"float32 on {device} (exported), weights {describe_file(Path(weights))}"
        return Network(lambda frames: np.log(np.maximum(probabilities(frames), tiny)), description)
    model, path = load_model(config, weights)

    def forward(frames: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            return model(paddle.to_tensor(frames)).numpy()

    return Network(forward, f"float32 on {device} (eager), weights {describe_file(path)}")


def describe_file(path: Path) -> str:
    """The path with the beginning of the SHA-256 of its content, which tells two weights of one name apart."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.read_bytes())
    return f"{path} (sha256 {digest.hexdigest()[:12]})"

"""A network ready to answer: uint8 frames in, logits out, whatever runs behind it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import paddle

from inference.cache import digest
from inference.engine import open_engine
from inference.exported import exported_weights, is_exported
from inference.precision import choose_precision
from models import build_model, get_model_class
from models.weight_files import find_weights
from models.weights import load_weights
from utils.config import Config
from utils.config_keys import InferConfig, ModelConfig, SectionConfig, TestConfig
from utils.cores import available_cores
from utils.download import published_tsn
from utils.log import say


@dataclass(frozen=True)
class Network:
    """A callable: uint8 frames [N, T, H, W, 3 * seglen] -> float32 logits [N, K]."""

    forward: Callable[[np.ndarray], np.ndarray]
    description: str  # engine, precision, weights: what a reported number depends on

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return self.forward(frames)


def load_network(
    config: Config, section: TestConfig | InferConfig, weights: str | None, device: str, num_ranks: int = 1
) -> Network:
    """The network for a section's clips; `weights` may also be a folder that export.py wrote.

    num_ranks: processes that share the processor.

    Raises InputError when the weights are missing or do not fit, or the precision is not to be had.
    """
    precision = "float32"
    threads = max(1, available_cores() // num_ranks)
    if device == "cpu":
        precision = choose_precision(section.precision)
        if section.precision == "auto" and precision == "bfloat16":
            say("precision auto: bfloat16, which this processor has; --precision=float32 for full precision")
    elif section.precision == "bfloat16":
        say("precision bfloat16 is for the CPU: the GPU computes in float32")
    if weights and is_exported(Path(weights)):
        weights = exported_weights(Path(weights), config, section)
    path = find_weights(weights or published_tsn())
    sha256 = digest(path)
    model_config = section_model(config.model, section)
    if device == "gpu" or not hasattr(get_model_class(model_config.name), "frame_logits"):
        model, engine = load_model(model_config, path), "eager"

        def forward(frames: np.ndarray) -> np.ndarray:
            with paddle.no_grad():
                return model(paddle.to_tensor(frames)).numpy()

    else:
        engine = "oneDNN"
        forward = open_engine(
            model_config, section.target_size, precision, threads, sha256, lambda: load_model(model_config, path)
        )
    return Network(forward, f"{precision} on {device} ({engine}), weights {describe_weights(path, sha256)}")


def section_model(model: ModelConfig, section: SectionConfig) -> ModelConfig:
    """MODEL with what the section overrides of the network's input."""
    return replace(model, seglen=section.seglen, image_mean=section.image_mean, image_std=section.image_std)


def load_model(config: ModelConfig, path: Path) -> paddle.nn.Layer:
    """The configured model with the weights of a file or folder, in evaluation mode."""
    model = build_model(config)
    load_weights(model, path)
    model.eval()
    return model


def describe_weights(path: Path, sha256: str) -> str:
    """The path with the beginning of its digest, which tells two weights of one name apart."""
    return f"{path} (sha256 {sha256[:12]})"

"""Networks for tests: without numbers, or with the same random ones each time; and what Paddle itself computes."""

import numpy as np
import paddle

from models import build_model, section_model
from utils.config.loading import Config, load_config


def unfilled(network: type, *arguments, **options) -> paddle.nn.Layer:
    """Return a network whose weights get their numbers when they are loaded: made in a tenth of the time."""
    with paddle.LazyGuard():
        return network(*arguments, **options)


def tiny_network(workspace, *settings: str) -> tuple[Config, paddle.nn.Layer]:
    """Return the tiny configuration with the settings, and its network with the same random weights each time."""
    config = load_config(str(workspace.folder / "tiny.yaml"), {}, settings)
    paddle.seed(1)
    model = build_model(section_model(config.model, config.infer))
    model.eval()
    return config, model


def eager(model: paddle.nn.Layer, frames: np.ndarray) -> np.ndarray:
    """Return the logits [N, K] of clips by Paddle's own kernels."""
    with paddle.no_grad():
        return model(paddle.to_tensor(frames)).numpy()


def probabilities(model: paddle.nn.Layer, frames: np.ndarray) -> np.ndarray:
    """Return those [N, K] of clips by Paddle's own kernels."""
    return paddle.nn.functional.softmax(paddle.to_tensor(eager(model, frames))).numpy()

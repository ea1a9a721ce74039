"""Networks for tests, without numbers or with the same random ones each time, and Paddle's own answers."""

import numpy as np
import paddle

from models import build_model, section_model
from utils.config.loading import Config, load_config


def unfilled(network: type, *arguments, **options) -> paddle.nn.Layer:
    """Return a network whose weights have no numbers until they are loaded: it takes a tenth of the time."""
    with paddle.LazyGuard():
        return network(*arguments, **options)


def tiny_network(workspace, *settings: str) -> tuple[Config, paddle.nn.Layer]:
    """Return the tiny configuration with the settings, and its network with random weights from one seed."""
    config = load_config(str(workspace.folder / "tiny.yaml"), {}, settings)
    paddle.seed(1)
    model = build_model(section_model(config.model, config.infer))
    model.eval()
    return config, model


def eager(model: paddle.nn.Layer, frames: np.ndarray) -> np.ndarray:
    """Return the logits [N, K] of clips as Paddle's own kernels compute them."""
    with paddle.no_grad():
        return model(paddle.to_tensor(frames)).numpy()


def probabilities(model: paddle.nn.Layer, frames: np.ndarray) -> np.ndarray:
    """Return the probabilities [N, K] of clips as Paddle's own kernels compute them."""
    return paddle.nn.functional.softmax(paddle.to_tensor(eager(model, frames))).numpy()

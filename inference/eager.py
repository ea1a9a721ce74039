"""The network as Paddle itself computes it: on a GPU, where it is looked into, and where no graph can be made of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import paddle

from inference.views import Output, Start
from models.transfer import fetch, send


def eager_start(
    model: paddle.nn.Layer, autocast: Callable[[], AbstractContextManager] = nullcontext, device: str = "cpu"
) -> Start:
    """Return what the model itself computes; it must be in evaluation mode. autocast: of its precision.

    On a GPU, `device`, a batch is under way, or computed, while the next one is read and sent.
    """

    def start(frames: np.ndarray) -> Callable[[], Output]:
        sent = send([frames], device)
        with paddle.no_grad():
            with autocast():
                features = model.features(sent.tensors[0])
            # The classifier as its weights are, float32 but with O2: bfloat16 would round classes to the same logit.
            mean = features.astype("float32").mean(axis=1).astype(model.fc.weight.dtype)
            output = model.classify(mean), features
        wait = fetch([tensor.astype("float32") for tensor in output], device, sent)
        return lambda: Output(*wait())

    return start

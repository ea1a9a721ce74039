"""The network as Paddle itself computes it: on a GPU, for heat maps, or if it cannot be traced."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import paddle

from inference.views import Output, Start
from models.transfer import fetch, send


def eager_start(
    model: paddle.nn.Layer, autocast: Callable[[], AbstractContextManager] = nullcontext, device: str = "cpu"
) -> Start:
    """Return a function that starts the model, which is in evaluation mode. autocast: the context of its precision.

    If `device` is a GPU, it computes a batch while the next one is read and sent.
    """

    def start(frames: np.ndarray) -> Callable[[], Output]:
        sent = send([frames], device)
        with paddle.no_grad():
            with autocast():
                features = model.features(sent.tensors[0])
            # The classifier runs in its weights' type, float32 unless O2: bfloat16 would round classes to equal logits.
            mean = features.astype("float32").mean(axis=1).astype(model.fc.weight.dtype)
            output = model.classify(mean), features
        wait = fetch([tensor.astype("float32") for tensor in output], device, sent)
        return lambda: Output(*wait())

    return start

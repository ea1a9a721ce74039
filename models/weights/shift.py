"""Conversion of TSM's weights to the shift in the opposite direction."""

import numpy as np

from models.resnet import DEPTHS
from models.tsm import SHARE
from models.weights.names import Layer


def turn_shift(arrays: dict[str, np.ndarray], num_layers: int, vd: bool, backbone: str, classifier: str) -> None:
    """Convert the weights of a network that shifts in one direction for a network that shifts in the other.

    The two eighths change places in everything that the shortcuts add up: in the output of each layer that writes to a
    shortcut, and in the input of each layer that reads from one. The network then computes the same as before.
    `backbone` and `classifier` are the prefixes of the names.
    """
    last = 2 if DEPTHS[num_layers][0] else 1  # the number of a block's last convolution, from 0
    for name, array in arrays.items():
        if not name.startswith(backbone):
            if name == classifier + "weight":  # [F, K]
                arrays[name] = _swapped(array, axis=0)
            continue
        layer = Layer.parse(name.removeprefix(backbone))
        writes = layer.number in (-1, last) if layer.stage >= 0 else layer.number == (2 if vd else 0)
        if writes:
            array = _swapped(array, axis=0)
        if layer.stage >= 0 and layer.is_conv and layer.number in (-1, 0):
            array = _swapped(array, axis=1)
        arrays[name] = array


def _swapped(array: np.ndarray, axis: int) -> np.ndarray:
    """Return the array with the first and the second eighth of its channels exchanged."""
    size = array.shape[axis]
    fold = size // SHARE
    return np.take(array, [*range(fold, 2 * fold), *range(fold), *range(2 * fold, size)], axis)

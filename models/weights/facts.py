"""Facts about the network that a file of weights comes from, so that an error can name the keys to set."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from paddle import nn

from models.resnet import DEPTHS
from models.tsm import SHARE
from models.weights.names import (
    LCNET,
    Family,
    Layer,
    count_shifted,
    is_classifier,
    is_no_weight,
    parameter_names,
    without_shift,
)


@dataclass(frozen=True)
class Facts:
    """Facts about a file's network; None means that the file does not tell."""

    family: Family
    num_layers: int | None
    num_classes: int | None
    shifts: bool | None  # TSM or TSN
    shifted_blocks: int  # the number of blocks whose names say that they shift
    whole: bool  # the file has every parameter of this backbone, and nothing that is not part of the network

    @property
    def shifts_in_part(self) -> bool:
        """Whether it is a TSM that does not shift in all blocks: mmaction2's ResNet-101 skips every second one."""
        return bool(self.shifts and self.num_layers and self.shifted_blocks < sum(DEPTHS[self.num_layers][1]))

    def classes_fact(self, model: nn.Layer) -> str:
        return f"the file has {self.num_classes} classes, MODEL.num_classes is {model.num_classes}"

    def differing(self, model: nn.Layer, pretrain: bool) -> list[tuple[str, str]]:
        """Return (the difference, the setting that would make the file fit) for each key that does not fit the file."""
        found = []
        if not pretrain and self.shifts not in (None, model.shifts):
            name = "TSM" if self.shifts else "TSN"
            found.append((f"the file is a {name}'s, MODEL.name is {type(model).__name__}", f"MODEL.name={name}"))
        variant = self.family.variant
        if variant != model.variant:
            title = "ResNet-vd" if variant == "resnet_vd" else "ResNet"
            found.append((f"the file is a {title}'s, MODEL.backbone is {model.variant}", f"MODEL.backbone={variant}"))
        if self.num_layers not in (None, model.num_layers):
            fact = f"the file is a ResNet-{self.num_layers}'s, MODEL.num_layers is {model.num_layers}"
            found.append((fact, f"MODEL.num_layers={self.num_layers}"))
        if not pretrain and self.num_classes not in (None, model.num_classes):
            found.append((self.classes_fact(model), f"MODEL.num_classes={self.num_classes}"))
        if not pretrain and self.family.title == "PaddleVideo" and model.shifts and model.num_segments != model.share:
            fact = f"PaddleVideo's TSM of {model.num_segments} segments shifts 1/{model.num_segments} of the channels"
            found.append((f"{fact}, known here is its TSM of {SHARE}", f"MODEL.seg_num={SHARE}"))
        return found


def facts_of(weights: Mapping[str, np.ndarray], family: Family, prefix: str, classifier: tuple[str, str]) -> Facts:
    """Return the facts about a file of known family and prefix. classifier: its names of the weight and the bias."""
    shifted = count_shifted(weights)
    names = {without_shift(name) for name in weights if not is_no_weight(name)}
    num_layers, whole = None, False
    if family.variant != LCNET:
        num_layers = _depth(sum(weights[n].ndim == 4 for n in weights if not is_no_weight(n)), family.variant)
    if num_layers:
        expected = parameter_names(num_layers, family.variant == "resnet_vd")
        backbone = {prefix + family.backbone(name, num_layers) for name in expected}
        whole = backbone <= names and all(name in classifier or is_classifier(name) for name in names - backbone)
    return Facts(
        family=family,
        num_layers=num_layers,
        num_classes=_num_classes(*(weights.get(name) for name in classifier), family.transposed),
        shifts=shifted > 0 if family.tells_shift else None,
        shifted_blocks=shifted,
        whole=whole,
    )


def _depth(num_convolutions: int, variant: str) -> int | None:
    """Return the num_layers of the ResNet that has this number of convolutions, including the shortcuts'."""
    for num_layers in DEPTHS:
        names = parameter_names(num_layers, variant == "resnet_vd")
        if sum(Layer.parse(name).is_conv for name in names) == num_convolutions:
            return num_layers
    return None


def _num_classes(weight: np.ndarray | None, bias: np.ndarray | None, transposed: bool) -> int | None:
    """Return K if the classifier's two arrays agree on it, else None."""
    if weight is None or bias is None or weight.ndim != 2:
        return None
    num_classes = weight.shape[0 if transposed else 1]
    return num_classes if bias.shape == (num_classes,) else None

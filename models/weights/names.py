"""What each family of weights calls the parameters of a ResNet, and which family a file belongs to.

Every rule turns a parameter of ours (paddle.vision's names) into the file's name, so that a file can be compared
with the model name by name. The names were taken from the projects' own model definitions.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from models.resnet import DEPTHS

# backbone parameter -> stage, block (both absent in the stem), layer, its number, part
_PARAMETER = re.compile(r"(?:layer(\d)\.(\d+)\.)?(conv|bn|downsample\.)(\d)\.(weight|bias|_mean|_variance)")
_BN_FLUID = {"weight": "scale", "bias": "offset", "_mean": "mean", "_variance": "variance"}
_BN_TORCH = {"weight": "weight", "bias": "bias", "_mean": "running_mean", "_variance": "running_var"}


@dataclass(frozen=True)
class Layer:
    """One convolution, or one batch normalisation, of a ResNet.

    stage, block: 0-based, -1 in the stem; number: 0-based inside the block, -1 for the shortcut; part: weight, bias,
    _mean or _variance.
    """

    stage: int
    block: int
    number: int
    is_conv: bool
    part: str

    @classmethod
    def parse(cls, name: str) -> "Layer":
        """The layer that owns the parameter `name` of models.resnet.ResNet."""
        stage, block, kind, number, part = _PARAMETER.fullmatch(name).groups()
        is_shortcut = kind == "downsample."
        return cls(
            stage=int(stage) - 1 if stage else -1,
            block=int(block) if block else -1,
            number=-1 if is_shortcut else int(number) - 1,
            is_conv=kind == "conv" or (is_shortcut and number == "0"),
            part=part,
        )

    def res_name(self, num_layers: int) -> str:
        """The block in Caffe's spelling: res2a, res2b, ...; the third stage of ResNet-101, -152: res4a, res4b1, ..."""
        letter = chr(ord("a") + self.block)
        if num_layers > 50 and self.stage == 2 and self.block > 0:
            letter = f"b{self.block}"
        return f"res{self.stage + 2}{letter}"


def _fluid(name: str, num_layers: int) -> str:
    layer = Layer.parse(name)
    if layer.stage < 0:
        return "conv1_weights" if layer.is_conv else f"bn_conv1_{_BN_FLUID[layer.part]}"
    branch = "branch1" if layer.number < 0 else "branch2" + "abc"[layer.number]
    block = layer.res_name(num_layers)
    if layer.is_conv:
        return f"{block}_{branch}_weights"
    return f"bn{block.removeprefix('res')}_{branch}_{_BN_FLUID[layer.part]}"


def _paddlevideo(name: str, num_layers: int) -> str:
    layer = Layer.parse(name)
    unit = "conv"
    if layer.stage >= 0:
        unit = f"{layer.res_name(num_layers)}.{'short' if layer.number < 0 else f'conv{layer.number}'}"
    return f"{unit}._conv.weight" if layer.is_conv else f"{unit}._batch_norm.{layer.part}"


def _paddleclas(name: str, num_layers: int) -> str:
    layer = Layer.parse(name)
    unit = "stem.0"
    if layer.stage >= 0:
        position = sum(DEPTHS[num_layers][1][: layer.stage]) + layer.block  # blocks are numbered through
        unit = f"blocks.{position}.{'short' if layer.number < 0 else f'conv{layer.number}'}"
    return f"{unit}.conv.weight" if layer.is_conv else f"{unit}.bn.{layer.part}"


def _vision(name: str, num_layers: int) -> str:
    return name


def _torch(name: str, num_layers: int) -> str:
    if Layer.parse(name).is_conv:
        return name
    prefix, _, part = name.rpartition(".")
    return f"{prefix}.{_BN_TORCH[part]}"


@dataclass(frozen=True)
class Family:
    """One way to name a ResNet's parameters."""

    title: str
    marker: str  # its name for the first convolution
    backbone: Callable[[str, int], str]
    classifiers: tuple[str, ...]  # names of the classifier's weight
    biases: tuple[str, ...]  # and of its bias, in the same order
    transposed: bool = False  # the classifier's weight is [K, F], ours is [F, K]

    def matches(self, names: Collection[str], prefix: str) -> bool:
        """Whether the file, whose names start with `prefix`, speaks this family's language."""
        if prefix + self.marker not in names:
            return False
        # torchvision and paddle.vision differ in their statistics' names and in the classifier's orientation.
        is_torch = any(name.endswith(".running_mean") for name in names)
        return self.marker != "conv1.weight" or is_torch == self.transposed


_LINEAR = (("fc.weight", "head.fc.weight", "out.weight"), ("fc.bias", "head.fc.bias", "out.bias"))
FAMILIES = (
    Family("Fluid", "conv1_weights", _fluid, ("fc_0.w_0",), ("fc_0.b_0",)),
    Family("PaddleVideo", "conv._conv.weight", _paddlevideo, *_LINEAR),
    Family("PaddleClas", "stem.0.conv.weight", _paddleclas, *_LINEAR),
    Family("torchvision", "conv1.weight", _torch, *_LINEAR, transposed=True),
    Family("paddle.vision", "conv1.weight", _vision, *_LINEAR),
)
# What data-parallel wrappers and recognisers put in front of the backbone's names.
PREFIXES = tuple(wrapper + part for wrapper in ("", "module.", "_layers.") for part in ("", "backbone."))


def find_family(names: Collection[str]) -> tuple[Family, str] | None:
    """(family, what stands before its names for the backbone), or None when the names are of none that we know."""
    for family in FAMILIES:
        for prefix in PREFIXES:
            if family.matches(names, prefix):
                return family, prefix
    return None


# State of Fluid's optimizer and of PyTorch's BatchNorm that lies among the weights without being any.
_NO_WEIGHT = re.compile(r".*_velocity_\d+|learning_rate_\d+|@LR_DECAY_COUNTER@|.*\bnum_batches_tracked")
_CLASSIFIER = re.compile(r"(?:(?:module|_layers|head)\.)*(?:fc\w*|out|classifier)(?:\.\w+)?")


def is_no_weight(name: str) -> bool:
    """Whether the file's entry is bookkeeping, which no model wants."""
    return _NO_WEIGHT.fullmatch(name) is not None


def is_classifier(name: str) -> bool:
    """Whether the file's entry belongs to a classifier, whatever it is called."""
    return _CLASSIFIER.fullmatch(name) is not None

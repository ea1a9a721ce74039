"""The names of a network's parameters in each family of weights, and the family that a file belongs to.

Every rule turns our name of a parameter (paddle.vision's name) into the file's name, so that a file can be compared
with the model name by name. The names come from the projects' own model definitions.
"""

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from models.resnet import DEPTHS

# backbone parameter -> stage, block (both absent in the stem), layer, its number, number in a stem of three, part
_PARAMETER = re.compile(r"(?:layer(\d)\.(\d+)\.)?(conv|bn|downsample\.)(\d)(?:_(\d))?\.(weight|bias|_mean|_variance)")
# The variant of PP-LCNetV2's families; all other families are a ResNet's.
LCNET = "lcnet_v2"
# MODEL.backbone, or LCNET -> the first convolution, whose input has the images' channels.
FIRST = {"resnet": "conv1.weight", "resnet_vd": "conv1_1.weight", LCNET: "stem.0.conv.weight"}
_BN_FLUID = {"weight": "scale", "bias": "offset", "_mean": "mean", "_variance": "variance"}
_BN_TORCH = {"weight": "weight", "bias": "bias", "_mean": "running_mean", "_variance": "running_var"}


@dataclass(frozen=True)
class Layer:
    """One convolution or batch normalisation of a ResNet.

    stage, block: 0-based, -1 in the stem; number: 0-based inside the block or the stem, -1 for the shortcut; deep: in
    a stem of three convolutions; part: weight, bias, _mean or _variance.
    """

    stage: int
    block: int
    number: int
    deep: bool
    is_conv: bool
    part: str

    @classmethod
    def parse(cls, name: str) -> "Layer":
        """Return the layer of models.resnet.ResNet that owns the parameter `name`."""
        stage, block, kind, number, deep, part = _PARAMETER.fullmatch(name).groups()
        is_shortcut = kind == "downsample."
        return cls(
            stage=int(stage) - 1 if stage else -1,
            block=int(block) if block else -1,
            number=-1 if is_shortcut else int(deep or number) - 1,
            deep=deep is not None,
            is_conv=kind == "conv" or (is_shortcut and number == "0"),
            part=part,
        )

    def res_name(self, num_layers: int) -> str:
        """Return the block's name in Caffe: res2a, res2b, ...; in the third stage of ResNet-101 and -152 res4b1, ..."""
        letter = chr(ord("a") + self.block)
        if num_layers > 50 and self.stage == 2 and self.block > 0:
            letter = f"b{self.block}"
        return f"res{self.stage + 2}{letter}"

    def in_block(self) -> str:
        return "short" if self.number < 0 else f"conv{self.number}"


def parameter_names(num_layers: int, vd: bool) -> Iterator[str]:
    """Yield the names of the parameters and statistics of models.resnet.ResNet, without making one."""
    bottleneck, stages = DEPTHS[num_layers]
    pairs = [(f"conv1_{n}", f"bn1_{n}") for n in (1, 2, 3)] if vd else [("conv1", "bn1")]
    for stage, num_blocks in enumerate(stages, start=1):
        for block in range(num_blocks):
            place = f"layer{stage}.{block}."
            pairs += [(f"{place}conv{n}", f"{place}bn{n}") for n in range(1, 4 if bottleneck else 3)]
            if block == 0 and (stage > 1 or bottleneck or vd):
                pairs.append((f"{place}downsample.0", f"{place}downsample.1"))
    for conv, norm in pairs:
        yield f"{conv}.weight"
        yield from (f"{norm}.{part}" for part in _BN_FLUID)


def _fluid(name: str, num_layers: int) -> str:
    layer = Layer.parse(name)
    if layer.stage < 0:
        conv, norm = (f"conv1_{layer.number + 1}", f"bnv1_{layer.number + 1}") if layer.deep else ("conv1", "bn_conv1")
        return f"{conv}_weights" if layer.is_conv else f"{norm}_{_BN_FLUID[layer.part]}"
    branch = "branch1" if layer.number < 0 else "branch2" + "abc"[layer.number]
    block = layer.res_name(num_layers)
    if layer.is_conv:
        return f"{block}_{branch}_weights"
    return f"bn{block.removeprefix('res')}_{branch}_{_BN_FLUID[layer.part]}"


def _paddlevideo(name: str, num_layers: int) -> str:
    layer = Layer.parse(name)
    unit = "conv" if layer.stage < 0 else f"{layer.res_name(num_layers)}.{layer.in_block()}"
    return f"{unit}._conv.weight" if layer.is_conv else f"{unit}._batch_norm.{layer.part}"


def _paddlevideo_vd(name: str, num_layers: int) -> str:
    layer = Layer.parse(name)
    unit = f"bb_{layer.stage}_{layer.block}.{layer.in_block()}"
    if layer.stage < 0:
        unit = f"conv1_{layer.number + 1}"
    return f"{unit}._conv.weight" if layer.is_conv else f"{unit}._batch_norm.{layer.part}"


def _paddleclas(name: str, num_layers: int) -> str:
    layer = Layer.parse(name)
    unit = f"stem.{layer.number}"
    if layer.stage >= 0:
        position = sum(DEPTHS[num_layers][1][: layer.stage]) + layer.block  # one numbering across all stages
        unit = f"blocks.{position}.{layer.in_block()}"
    return f"{unit}.conv.weight" if layer.is_conv else f"{unit}.bn.{layer.part}"


def _mmaction2(name: str, num_layers: int) -> str:
    layer = Layer.parse(name)
    unit = "downsample" if layer.number < 0 else f"conv{layer.number + 1}"
    if layer.stage >= 0:
        unit = f"layer{layer.stage + 1}.{layer.block}.{unit}"
    return f"{unit}.conv.weight" if layer.is_conv else f"{unit}.bn.{_BN_TORCH[layer.part]}"


def _vision(name: str, num_layers: int) -> str:
    return name


def _torch(name: str, num_layers: int) -> str:
    if Layer.parse(name).is_conv:
        return name
    prefix, _, part = name.rpartition(".")
    return f"{prefix}.{_BN_TORCH[part]}"


def _lcnet(name: str, num_layers: int) -> str:
    return name.replace("groups.", "stages.").replace("branches.", "dw_conv_list.")


def _lcnet_in_backbone(name: str, num_layers: int) -> str:
    return f"backbone.{_lcnet(name, num_layers)}"


def _tsn_pytorch(name: str, num_layers: int) -> str:
    return f"base_model.{_torch(name, num_layers)}"


@dataclass(frozen=True)
class Family:
    """One way to name the parameters of a ResNet, or of PP-LCNetV2."""

    title: str
    marker: str  # a name that identifies the family, usually the first convolution's
    backbone: Callable[[str, int], str]
    classifiers: tuple[str, ...]  # names of the classifier's weight
    biases: tuple[str, ...]  # names of its bias, in the same order
    transposed: bool = False  # the classifier's weight is [K, F], ours is [F, K]
    variant: str = "resnet"  # MODEL.backbone, or LCNET
    tells_shift: bool = False  # a TSM's names differ from a TSN's

    def matches(self, names: Collection[str], prefix: str) -> bool:
        """Return whether a file with these names, which start with `prefix`, belongs to this family."""
        if prefix + self.marker not in names:
            return False
        # torchvision and paddle.vision differ only in the names of statistics and the classifier's orientation.
        is_torch = any(name.endswith(".running_mean") for name in names)
        return self.marker != "conv1.weight" or is_torch == self.transposed


_BRANCH = "stages.2.0.dw_conv_list.0.conv.weight"  # only PP-LCNetV2 has it
_FLUID = (("fc_0.w_0",), ("fc_0.b_0",))
_LINEAR = (("fc.weight", "head.fc.weight", "out.weight"), ("fc.bias", "head.fc.bias", "out.bias"))
_MMACTION2 = (("cls_head.fc_cls.weight",), ("cls_head.fc_cls.bias",))
# In PaddleVideo the classifier belongs to the backbone, so its name begins with that.
_IN_BACKBONE = (("backbone.fc.weight",), ("backbone.fc.bias",))
_NEW_FC = (("new_fc.weight", "base_model.fc.weight"), ("new_fc.bias", "base_model.fc.bias"))
FAMILIES = (
    Family("PaddleVideo", f"backbone.{_BRANCH}", _lcnet_in_backbone, *_IN_BACKBONE, variant=LCNET),
    Family("PaddleClas", _BRANCH, _lcnet, *_LINEAR, variant=LCNET),
    Family("our", "groups.2.0.branches.0.conv.weight", _vision, *_LINEAR, variant=LCNET),
    Family("Fluid", "conv1_weights", _fluid, *_FLUID),
    Family("Fluid", "conv1_1_weights", _fluid, *_FLUID, variant="resnet_vd"),
    Family("PaddleVideo", "conv._conv.weight", _paddlevideo, *_LINEAR),
    Family("PaddleVideo", "conv1_1._conv.weight", _paddlevideo_vd, *_LINEAR, variant="resnet_vd"),
    Family("PaddleClas", "stem.2.conv.weight", _paddleclas, *_LINEAR, variant="resnet_vd"),
    Family("PaddleClas", "stem.0.conv.weight", _paddleclas, *_LINEAR),
    Family("mmaction2", "conv1.conv.weight", _mmaction2, *_MMACTION2, transposed=True, tells_shift=True),
    Family("tsn-pytorch", "base_model.conv1.weight", _tsn_pytorch, *_NEW_FC, transposed=True, tells_shift=True),
    Family("torchvision", "conv1.weight", _torch, *_LINEAR, transposed=True),
    Family("paddle.vision", "conv1.weight", _vision, *_LINEAR),
    Family("our", "conv1_1.weight", _vision, *_LINEAR, variant="resnet_vd"),
)
# Prefixes that data-parallel wrappers and recognisers add to the backbone's names.
PREFIXES = tuple(wrapper + part for wrapper in ("", "module.", "_layers.") for part in ("", "backbone."))


def find_family(names: Collection[str]) -> tuple[Family, str] | None:
    """Return (family, the prefix of its backbone's names), or None if the names fit no known family."""
    for family in FAMILIES:
        for prefix in PREFIXES:
            if family.matches(names, prefix):
                return family, prefix
    return None


# mmaction2's TSM has layer1.0.conv1.conv.net.weight, its TSN layer1.0.conv1.conv.weight. MIT's TSM has
# layer1.0.conv1.net.weight, tsn-pytorch layer1.0.conv1.weight.
_SHIFTED = re.compile(r"(.*\.conv1\.(?:conv\.)?)net\.(weight)")


def without_shift(name: str) -> str:
    """Return the file's name without the part that marks a shifted convolution."""
    return _SHIFTED.sub(r"\1\2", name)


def count_shifted(names: Collection[str]) -> int:
    """Count the blocks that the file's names mark as shifted."""
    return sum(_SHIFTED.fullmatch(name) is not None for name in names)


# Entries that are not weights: state of Fluid's optimizer and of PyTorch's BatchNorm, and a convolution beside
# PP-LCNetV2's branches that is never used.
_NO_WEIGHT = re.compile(
    r".*_velocity_\d+|learning_rate_\d+|@LR_DECAY_COUNTER@|.*\bnum_batches_tracked|.*\bstages\.[23]\.\d+\.dw_conv\..+"
)
_CLASSIFIER = re.compile(
    r"(?:(?:module|_layers|backbone|head|cls_head|base_model)\.)*(?:(?:new_)?fc\w*|out|classifier)(?:\.\w+)?"
)


def is_no_weight(name: str) -> bool:
    """Return whether the file's entry is bookkeeping that no model needs."""
    return _NO_WEIGHT.fullmatch(name) is not None


def is_classifier(name: str) -> bool:
    """Return whether the file's entry belongs to a classifier, in any family."""
    return _CLASSIFIER.fullmatch(name) is not None

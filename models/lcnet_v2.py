"""PP-LCNetV2 base without its classifier: depthwise convolutions, a tenth of ResNet-50's arithmetic.

It follows PaddleClas (ppcls/arch/backbone/legendary_models/pp_lcnet_v2.py) and uses its names, except for `groups` and
`branches`, which are `stages` and `dw_conv_list` there.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.nn.initializer import KaimingNormal

from models.resnet import BatchNorm, Function

# For each group of blocks: channels, number of blocks, kernel of the depthwise convolutions, and other arguments of
# DepthwiseBlock.
GROUPS = (
    (128, 2, 3, {}),
    (256, 2, 3, {}),
    (512, 6, 5, {"branches": True, "attends": True, "split": True}),
    (1024, 2, 5, {"branches": True, "shortcut": True}),
)
SHIFTED = 2  # the position of the group whose input is shifted
# The share of features that PaddleClas' dropout (mode downscale_in_infer) keeps in training. PaddleClas multiplies by
# it in inference; we do so in training, too.
KEPT = 0.8


class ConvBN(nn.Layer):
    """A convolution without bias that keeps or halves the image's size, followed by BatchNorm."""

    def __init__(self, into: int, out: int, kernel: int, data_format: str, stride: int = 1, groups: int = 1):
        super().__init__()
        how = {"weight_attr": paddle.ParamAttr(initializer=KaimingNormal()), "bias_attr": False}
        self.conv = nn.Conv2D(into, out, kernel, stride, kernel // 2, groups=groups, data_format=data_format, **how)
        self.bn = BatchNorm(out, momentum=0.9, epsilon=1e-5, data_format=data_format)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x))


class SqueezeExcitation(nn.Layer):
    """Channels scaled by factors that two layers compute from the means of all channels."""

    def __init__(self, channels: int, data_format: str):
        super().__init__()
        self.data_format = data_format
        self.conv1 = nn.Conv2D(channels, channels // 4, 1, data_format=data_format)
        self.conv2 = nn.Conv2D(channels // 4, channels, 1, data_format=data_format)

    def forward(self, x: Tensor) -> Tensor:
        means = F.adaptive_avg_pool2d(x, 1, data_format=self.data_format)
        return x * sigmoid(self.conv2(F.relu(self.conv1(means))))


def sigmoid(x: Tensor) -> Tensor:
    """Return F.sigmoid(x), also in the graph format of models/graphs/trace.py, which F.sigmoid does not support."""
    if paddle.in_dynamic_mode() or paddle.framework.use_pir_api():
        return F.sigmoid(x)
    helper = paddle.base.layer_helper.LayerHelper("sigmoid")
    result = helper.create_variable_for_type_inference(x.dtype)
    helper.append_op(type="sigmoid", inputs={"X": x}, outputs={"Out": result})
    return result


class DepthwiseBlock(nn.Layer):
    """A depthwise convolution and a pointwise convolution, each with BatchNorm and ReLU.

    branches: sum several depthwise convolutions, with kernels 5, 3 and (unless the stride is 2) 1, before the ReLU;
    attends: squeeze-and-excitation between the two; split: two pointwise convolutions, the first to half of the
    channels; shortcut: add the input if the shape stays the same.
    """

    def __init__(
        self,
        into: int,
        out: int,
        kernel: int,
        stride: int,
        data_format: str,
        branches: bool = False,
        attends: bool = False,
        split: bool = False,
        shortcut: bool = False,
    ):
        super().__init__()
        if branches:
            kernels = [size for size in range(kernel, 0, -2) if size > 1 or stride == 1]
            self.branches = nn.LayerList([ConvBN(into, into, size, data_format, stride, into) for size in kernels])
        else:
            self.dw_conv = ConvBN(into, into, kernel, data_format, stride, into)
        self.se = SqueezeExcitation(into, data_format) if attends else None
        if split:
            self.pw_conv_1 = ConvBN(into, out // 2, 1, data_format)
            self.pw_conv_2 = ConvBN(out // 2, out, 1, data_format)
        else:
            self.pw_conv = ConvBN(into, out, 1, data_format)
        self.has_branches, self.split = branches, split
        self.adds = shortcut and stride == 1 and into == out
        self.folded = False

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = F.relu(self._depthwise(x))
        if self.se is not None:
            x = self.se(x)
        for conv in (self.pw_conv_1, self.pw_conv_2) if self.split else (self.pw_conv,):
            x = F.relu(conv(x))
        return x + shortcut if self.adds else x

    def _depthwise(self, x: Tensor) -> Tensor:
        if not self.has_branches:
            return self.dw_conv(x)
        if self.folded:
            conv = self.branches[0].conv
            how = {"stride": conv._stride, "padding": conv._padding, "groups": conv._groups}
            return F.conv2d(x, self.folded_weight, self.folded_bias, data_format=conv._data_format, **how)
        return sum((branch(x) for branch in self.branches[1:]), self.branches[0](x))

    def fold(self) -> None:
        """Compute the branches as one convolution from now on; later training of the branches does not change it."""
        if self.has_branches:
            for name, array in zip(("folded_weight", "folded_bias"), fold_branches(self.branches)):
                self.register_buffer(name, paddle.to_tensor(array.astype("float32")), persistable=False)
            self.folded = True


def fold_branches(branches: nn.LayerList) -> tuple[np.ndarray, np.ndarray]:
    """Return float64 (weight [C, 1, k, k], bias [C]) of the convolution that equals the branches' sum in evaluation.

    k: the kernel size of the first branch, which is the largest; the other kernels are centred in it.
    """
    size = branches[0].conv.weight.shape[-1]
    weight, bias = 0, 0
    for branch in branches:
        kernel, scale, offset, mean, variance = (
            tensor.numpy().astype("float64")
            for tensor in (branch.conv.weight, branch.bn.weight, branch.bn.bias, branch.bn._mean, branch.bn._variance)
        )
        scale /= np.sqrt(variance + branch.bn._epsilon)
        edge = (size - kernel.shape[-1]) // 2
        weight = weight + np.pad(kernel * scale[:, None, None, None], ((0, 0), (0, 0), (edge, edge), (edge, edge)))
        bias = bias + offset - mean * scale
    return weight, bias


class LCNetV2(nn.Layer):
    """Images [N, in_channels, H, W], or [N, H, W, in_channels] for NHWC -> features [N, num_features]."""

    num_features = 1280

    def __init__(self, in_channels: int = 3, data_format: str = "NCHW"):
        super().__init__()
        self.data_format = data_format
        self.stem = nn.LayerList(
            [ConvBN(in_channels, 32, 3, data_format, 2), DepthwiseBlock(32, 64, 3, 1, data_format)]
        )
        self.groups, channels = nn.LayerList(), 64
        for out, depth, kernel, more in GROUPS:
            blocks = []
            for number in range(depth):
                blocks.append(DepthwiseBlock(channels, out, kernel, 1 if number else 2, data_format, **more))
                channels = out
            self.groups.append(nn.Sequential(*blocks))
        self.last_conv = nn.Conv2D(channels, self.num_features, 1, bias_attr=False, data_format=data_format)

    def stages(self) -> list[list[nn.Layer]]:
        """Return the layers of the stem and of each of the four groups of blocks; the last has the final layer, too."""
        first, second, third, fourth = self.groups
        return [[self.stem], [first], [second], [third], [fourth, self.last_conv]]

    def forward(self, x: Tensor, shift: Function | None = None) -> Tensor:
        """Return the features; shift: applied to the input of the third group of blocks."""
        means = F.adaptive_avg_pool2d(self._maps(x, shift), 1, data_format=self.data_format)
        return KEPT * F.relu(self.last_conv(means)).flatten(1)

    def feature_maps(self, x: Tensor, shift: Function | None = None) -> Tensor:
        """Return maps whose means are the features: [N, num_features, h, w], or for NHWC [N, h, w, num_features].

        The features are averaged before the last ReLU: a feature that the ReLU makes zero is zero in the whole map.
        """
        maps = self.last_conv(self._maps(x, shift))
        means = F.adaptive_avg_pool2d(maps, 1, data_format=self.data_format)
        return KEPT * maps * (means > 0).astype(maps.dtype)

    def _maps(self, x: Tensor, shift: Function | None) -> Tensor:
        x = F.relu(self.stem[0](x))
        x = self.stem[1](x)
        for number, blocks in enumerate(self.groups):
            x = blocks(shift(x) if shift is not None and number == SHIFTED else x)
        return x

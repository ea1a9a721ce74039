"""ResNet v1.5 and ResNet-vd without their classifiers, under the parameter names of paddle.vision and torchvision.

He et al., https://arxiv.org/abs/1512.03385; "v1.5" puts the stride of a bottleneck on its 3x3 convolution.
vd: He et al., https://arxiv.org/abs/1812.01187, as in PaddleClas (ppcls/arch/backbone/legendary_models/resnet.py):
the stem is three 3x3 convolutions, and shortcuts that halve the image average 2x2 pixels before a 1x1 convolution
without stride. With the shallow depths (18, 34) the first block has a convolution in its shortcut, too.
"""

from collections.abc import Callable

import paddle.nn.functional as F
from paddle import Tensor, nn

from utils.errors import InputError

# num_layers -> (bottleneck blocks?, blocks in each of the four stages): table 1 of the paper.
DEPTHS: dict[int, tuple[bool, tuple[int, int, int, int]]] = {
    18: (False, (2, 2, 2, 2)),
    34: (False, (3, 4, 6, 3)),
    50: (True, (3, 4, 6, 3)),
    101: (True, (3, 4, 23, 3)),
    152: (True, (3, 8, 36, 3)),
}


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int, data_format: str) -> nn.Conv2D:
    # Paddle's default initialisation is the original's: normal with variance 2 / fan_in.
    padding = kernel // 2
    return nn.Conv2D(in_channels, out_channels, kernel, stride, padding, bias_attr=False, data_format=data_format)


class BatchNorm(nn.BatchNorm2D):
    """nn.BatchNorm2D without the warning that it prints in every training run."""

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            self._mean,
            self._variance,
            self.weight,
            self.bias,
            training=self.training,
            momentum=self._momentum,
            epsilon=self._epsilon,
            data_format=self._data_format,
        )


def _norm(channels: int, data_format: str) -> nn.BatchNorm2D:
    return BatchNorm(channels, momentum=0.9, epsilon=1e-5, data_format=data_format)


Function = Callable[[Tensor], Tensor]


class Block(nn.Layer):
    """Two 3x3 convolutions, or with `bottleneck` 1x1, 3x3 and 1x1 with four times the channels; plus the shortcut."""

    def __init__(
        self,
        in_channels: int,
        width: int,
        stride: int,
        bottleneck: bool,
        data_format: str,
        vd: bool = False,
        projection: bool = False,
        activation: Function = F.relu,
    ):
        """Build the layers; projection: put a convolution in the shortcut even if the shape does not change."""
        super().__init__()
        out_channels = width * (4 if bottleneck else 1)
        first, second = ((1, 1), (3, stride)) if bottleneck else ((3, stride), (3, 1))  # (kernel, stride)
        self.conv1 = _conv(in_channels, width, *first, data_format)
        self.bn1 = _norm(width, data_format)
        self.conv2 = _conv(width, width, *second, data_format)
        self.bn2 = _norm(width, data_format)
        self.bottleneck = bottleneck
        if bottleneck:
            self.conv3 = _conv(width, out_channels, 1, 1, data_format)
            self.bn3 = _norm(out_channels, data_format)
        self.activation = activation
        self.data_format = data_format
        self.averages = vd and stride != 1
        self.downsample = None
        if projection or stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                _conv(in_channels, out_channels, 1, 1 if vd else stride, data_format), _norm(out_channels, data_format)
            )

    def forward(self, x: Tensor, shift: Function | None = None) -> Tensor:
        """Return the block's output; shift: applied to the input of the first convolution, not of the shortcut."""
        shortcut = x
        if self.averages:
            shortcut = F.avg_pool2d(x, 2, 2, ceil_mode=True, data_format=self.data_format)
        if self.downsample is not None:
            shortcut = self.downsample(shortcut)
        x = self.conv1(x if shift is None else shift(x))
        x = self.conv2(self.activation(self.bn1(x)))
        x = self.bn2(x)
        if self.bottleneck:
            x = self.bn3(self.conv3(self.activation(x)))
        return self.activation(x + shortcut)


class Stage(nn.Sequential):
    """Blocks that work on images of the same size."""

    def forward(self, x: Tensor, shift: Function | None = None) -> Tensor:
        for block in self:
            x = block(x, shift)
        return x


class ResNet(nn.Layer):
    """Images [N, in_channels, H, W], or [N, H, W, in_channels] for NHWC -> mean features [N, num_features]."""

    def __init__(
        self,
        num_layers: int = 50,
        in_channels: int = 3,
        data_format: str = "NCHW",
        vd: bool = False,
        activation: Function = F.relu,
    ):
        """Raise InputError for a depth that is not in DEPTHS."""
        super().__init__()
        if num_layers not in DEPTHS:
            known = ", ".join(str(depth) for depth in DEPTHS)
            raise InputError(f"MODEL.num_layers is {num_layers}; a ResNet has one of {known}")
        bottleneck, stages = DEPTHS[num_layers]
        self.data_format, self.vd, self.activation = data_format, vd, activation
        self.num_features = 512 * (4 if bottleneck else 1)
        if vd:
            for number, (into, out, stride) in enumerate([(in_channels, 32, 2), (32, 32, 1), (32, 64, 1)], start=1):
                self.add_sublayer(f"conv1_{number}", _conv(into, out, 3, stride, data_format))
                self.add_sublayer(f"bn1_{number}", _norm(out, data_format))
        else:
            self.conv1 = _conv(in_channels, 64, 7, 2, data_format)
            self.bn1 = _norm(64, data_format)
        channels = 64
        for stage, num_blocks in enumerate(stages):
            width = 64 * 2**stage
            blocks = []
            for position in range(num_blocks):
                stride = 2 if stage > 0 and position == 0 else 1
                projection = vd and position == 0
                blocks.append(Block(channels, width, stride, bottleneck, data_format, vd, projection, activation))
                channels = width * (4 if bottleneck else 1)
            self.add_sublayer(f"layer{stage + 1}", Stage(*blocks))

    def stages(self) -> list[list[nn.Layer]]:
        """Return the layers of the stem and of each of the four groups of blocks, in order."""
        groups = [self.layer1, self.layer2, self.layer3, self.layer4]
        return [[layer for layer in self.children() if layer not in groups], *([group] for group in groups)]

    def forward(self, x: Tensor, shift: Function | None = None) -> Tensor:
        """Return the mean features; shift: applied to the input of each block's first convolution."""
        # Not mean(): oneDNN has no fast kernel for it, which would cost a tenth of the whole network in bfloat16.
        maps = self.feature_maps(x, shift)
        return F.adaptive_avg_pool2d(maps, 1, data_format=self.data_format).flatten(1)  # [N, num_features]

    def feature_maps(self, x: Tensor, shift: Function | None = None) -> Tensor:
        """Return the maps that `forward` averages: [N, num_features, h, w], or for NHWC [N, h, w, num_features]."""
        if self.vd:
            for conv, norm in ((self.conv1_1, self.bn1_1), (self.conv1_2, self.bn1_2), (self.conv1_3, self.bn1_3)):
                x = self.activation(norm(conv(x)))
        else:
            x = self.activation(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1, data_format=self.data_format)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x, shift)
        return x

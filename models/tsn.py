"""Temporal Segment Networks: one ResNet for every segment, the mean of the features, one classifier.

Wang et al., https://arxiv.org/abs/1608.00859.
"""

import math
from collections.abc import Sequence

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.nn.initializer import Constant, Uniform

from models.resnet import Function, ResNet


class TSN(nn.Layer):
    """Frames of N videos -> logits; the normalisation is part of the graph.

    num_segments is what the weights were trained with, kept for the log: `forward` takes any T.
    """

    classifier_prefix = "fc."  # what --pretrain leaves out
    backbone_prefix = "backbone."
    shifts = False  # whether the frames of a video exchange channels
    vd_activation = staticmethod(F.relu)

    def __init__(
        self,
        num_classes: int,
        num_segments: int = 3,
        num_layers: int = 50,
        seglen: int = 1,
        image_mean: Sequence[float] = (0.485, 0.456, 0.406),
        image_std: Sequence[float] = (0.229, 0.224, 0.225),
        data_format: str = "NCHW",
        backbone: str = "resnet",
        dropout: float = 0.0,
    ):
        """image_mean, image_std: of RGB in 0..1; the defaults are ImageNet's. backbone: resnet or resnet_vd.

        dropout: the share of the features that the classifier does not see in training.
        Raises InputError for num_layers.
        """
        super().__init__()
        self.num_classes = num_classes
        self.num_segments = num_segments
        self.num_layers = num_layers
        self.seglen = seglen
        self.data_format = data_format
        self.variant = backbone
        self.dropout = dropout
        self.backbone = self.make_backbone()
        limit = 1 / math.sqrt(self.backbone.num_features)
        self.fc = nn.Linear(
            self.backbone.num_features,
            num_classes,
            weight_attr=paddle.ParamAttr(initializer=Uniform(-limit, limit)),
            bias_attr=paddle.ParamAttr(initializer=Constant(0.0)),
        )
        # (x / 255 - mean) / std in one multiplication and one addition; no part of the weights.
        shape = [-1, 1, 1] if data_format == "NCHW" else [-1]
        scale = paddle.to_tensor([1 / (255 * std) for std in image_std] * seglen, dtype="float32")
        shift = paddle.to_tensor([-m / std for m, std in zip(image_mean, image_std)] * seglen, dtype="float32")
        self.register_buffer("scale", scale.reshape(shape), persistable=False)
        self.register_buffer("shift", shift.reshape(shape), persistable=False)

    def make_backbone(self) -> nn.Layer:
        """Return what makes features of frames, with the methods of models/resnet.py:ResNet. Raise InputError."""
        vd = self.variant == "resnet_vd"
        return ResNet(self.num_layers, 3 * self.seglen, self.data_format, vd, self.vd_activation if vd else F.relu)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits float32 [N, K] of uint8 [N, T, H, W, 3 * seglen] in RGB, any T."""
        return self.classify(self.features(frames).mean(axis=1))

    def features(self, frames: Tensor) -> Tensor:
        """Return float32 [N, T, F], those of each segment, of uint8 [N, T, H, W, 3 * seglen]."""
        x = frames.astype("float32")  # first: graphs of Paddle 2.6 can do little else with uint8
        num_segments = x.shape[1]
        features = self.backbone(self._normalised(x.flatten(0, 1)), self.shift_of(num_segments))  # [N * T, F]
        return features.reshape([-1, num_segments, self.backbone.num_features])

    def feature_maps(self, frames: Tensor) -> Tensor:
        """Return float32 [N, T, F, h, w] of uint8 [N, T, H, W, 3 * seglen]; means over h and w are the features."""
        num_segments = frames.shape[1]
        x = self._normalised(frames.astype("float32").flatten(0, 1))
        maps = self.backbone.feature_maps(x, self.shift_of(num_segments))
        if self.data_format == "NHWC":
            maps = maps.transpose([0, 3, 1, 2])
        return maps.reshape([-1, num_segments, *maps.shape[1:]])

    def shift_of(self, num_segments: int) -> Function | None:
        """Return what exchanges channels between the T frames of each video in [N * T, C, H, W]; see ResNet.forward."""
        return None

    def use_plain_operators(self) -> None:
        """Compute with operators that other programs know from now on; the numbers are the same."""

    def frame_features(self, frames: Tensor) -> Tensor:
        """Return float32 [B, F], those of each segment, of uint8 [B, H, W, 3 * seglen].

        With this method a model says that its videos may be computed in any parts; with `shifts`, that each part must
        be a whole video. As the classifier is linear, the logits of their mean are what `forward` returns.
        """
        return self.backbone(self._normalised(frames.astype("float32")))

    def classify(self, features: Tensor) -> Tensor:
        """Return logits float32 [..., K] of float32 [..., F]."""
        if self.training and self.dropout:
            features = F.dropout(features, self.dropout)
        return self.fc(features)

    def _normalised(self, x: Tensor) -> Tensor:
        """Return what the backbone takes of float32 [B, H, W, 3 * seglen] in 0..255."""
        if self.data_format == "NCHW":
            x = x.transpose([0, 3, 1, 2])
        return x * self.scale + self.shift

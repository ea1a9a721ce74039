"""Temporal Segment Networks: one ResNet for all segments, the mean of their features, one classifier.

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

    num_segments is the T of the training, kept for the log: `forward` takes any T.
    """

    classifier_prefix = "fc."  # --pretrain leaves these parameters out
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
        """Build the layers; image_mean and image_std are of RGB in 0..1, by default ImageNet's.

        backbone: resnet or resnet_vd. dropout: the share of the features that training hides from the classifier.
        Raises InputError for a num_layers that no ResNet has.
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
        # (x / 255 - mean) / std as one multiplication and one addition; not saved with the weights.
        shape = [-1, 1, 1] if data_format == "NCHW" else [-1]
        scale = paddle.to_tensor([1 / (255 * std) for std in image_std] * seglen, dtype="float32")
        shift = paddle.to_tensor([-m / std for m, std in zip(image_mean, image_std)] * seglen, dtype="float32")
        self.register_buffer("scale", scale.reshape(shape), persistable=False)
        self.register_buffer("shift", shift.reshape(shape), persistable=False)

    def make_backbone(self) -> nn.Layer:
        """Return the backbone, with the methods of models/resnet.py:ResNet. Raise InputError if it cannot be built."""
        vd = self.variant == "resnet_vd"
        return ResNet(self.num_layers, 3 * self.seglen, self.data_format, vd, self.vd_activation if vd else F.relu)

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits float32 [N, K] of uint8 [N, T, H, W, 3 * seglen] in RGB, for any T."""
        return self.classify(self.features(frames).mean(axis=1))

    def features(self, frames: Tensor) -> Tensor:
        """Return each segment's features, float32 [N, T, F], of uint8 [N, T, H, W, 3 * seglen]."""
        x = frames.astype("float32")  # cast first: graphs of Paddle 2.6 have few operators for uint8
        num_segments = x.shape[1]
        features = self.backbone(self._normalised(x.flatten(0, 1)), self.shift_of(num_segments))  # [N * T, F]
        return features.reshape([-1, num_segments, self.backbone.num_features])

    def feature_maps(self, frames: Tensor) -> Tensor:
        """Return float32 [N, T, F, h, w] of uint8 [N, T, H, W, 3 * seglen]; the means over h, w are the features."""
        num_segments = frames.shape[1]
        x = self._normalised(frames.astype("float32").flatten(0, 1))
        maps = self.backbone.feature_maps(x, self.shift_of(num_segments))
        if self.data_format == "NHWC":
            maps = maps.transpose([0, 3, 1, 2])
        return maps.reshape([-1, num_segments, *maps.shape[1:]])

    def shift_of(self, num_segments: int) -> Function | None:
        """Return the function that exchanges channels between a video's T frames in [N * T, C, H, W], or None."""
        return None

    def use_plain_operators(self) -> None:
        """Use only operators that other programs know from now on; the results stay the same."""

    def frame_features(self, frames: Tensor) -> Tensor:
        """Return each segment's features, float32 [B, F], of uint8 [B, H, W, 3 * seglen].

        A model with this method may be computed on any group of frames; if it `shifts`, on one whole video at a time.
        As the classifier is linear, `classify` of the features' mean gives the result of `forward`.
        """
        return self.backbone(self._normalised(frames.astype("float32")))

    def classify(self, features: Tensor) -> Tensor:
        """Return logits float32 [..., K] of float32 [..., F]."""
        if self.training and self.dropout:
            features = F.dropout(features, self.dropout)
        return self.fc(features)

    def _normalised(self, x: Tensor) -> Tensor:
        """Return the backbone's input, normalised and in its layout, of float32 [B, H, W, 3 * seglen] in 0..255."""
        if self.data_format == "NCHW":
            x = x.transpose([0, 3, 1, 2])
        return x * self.scale + self.shift

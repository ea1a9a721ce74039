"""Temporal Shift Module: TSN whose blocks see an eighth of the channels of the previous frame, and of the next frame.

Lin et al., https://arxiv.org/abs/1811.08383. The shift costs no parameter and no multiplication: before the first
convolution of every block, channels [0, C/8) come from the previous frame and [C/8, 2C/8) from the next, with zeros at
the ends of the video; the shortcut is not shifted. PaddleVideo and Paddle's own operator shift in these directions.
mmaction2 shifts in the opposite ones: models/weights/shift.py converts its files.
"""

from functools import partial

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from models.resnet import Function
from models.tsn import TSN

SHARE = 8  # an eighth in each direction, as in the paper and in every published file


class TSM(TSN):
    """Frames of N videos -> logits, the mean of the classifier's logits over the frames. The parameters are TSN's.

    With ResNet-vd it is PaddleVideo's PP-TSM, whose activation is the leaky ReLU (resnet_tweaks_tsm.py there).
    """

    shifts = True
    share = SHARE  # one of this many channels is shifted in each direction
    vd_activation = staticmethod(F.leaky_relu)  # slope 0.01

    def forward(self, frames: Tensor) -> Tensor:
        """Return logits float32 [N, K] of uint8 [N, T, H, W, 3 * seglen] in RGB, for any T."""
        return self.classify(self.features(frames)).mean(axis=1)  # [N, T, K] -> [N, K]

    def shift_of(self, num_segments: int) -> Function:
        """Return the temporal shift, see TSN."""
        return partial(F.temporal_shift, seg_num=num_segments, shift_ratio=1 / self.share, data_format=self.data_format)

    def use_plain_operators(self) -> None:
        """Use only operators that other programs know, see TSN."""
        self.shift_of = lambda num_segments: partial(shift_videos, num_segments=num_segments, share=self.share)

    def frame_features(self, frames: Tensor) -> Tensor:
        """Return float32 [T, F] of uint8 [T, H, W, 3 * seglen], the segments of one video."""
        return self.backbone(self._normalised(frames.astype("float32")), partial(shift_video, share=self.share))


def shift_video(x: Tensor, share: int = SHARE) -> Tensor:
    """Return float32 [T, C, H, W] of one video, shifted as by F.temporal_shift, which OpenVINO does not know.

    All tensors have four dimensions: with more, OpenVINO's kernels give up their own memory layout. The zeros are added
    before a frame is removed: the other way round, a video of one frame would be empty in between.
    """
    before, after, rest = paddle.split(x, _parts(x.shape[1], share), axis=1)
    before = paddle.concat([paddle.zeros_like(before[:1]), before], axis=0)[:-1]
    after = paddle.concat([after, paddle.zeros_like(after[:1])], axis=0)[1:]
    return paddle.concat([before, after, rest], axis=1)


def shift_videos(x: Tensor, num_segments: int, share: int = SHARE) -> Tensor:
    """Return float32 [N * T, C, H, W], shifted as by F.temporal_shift, with operators that every format has."""
    videos = x.reshape([-1, num_segments, *x.shape[1:]])  # [N, T, C, H, W]
    before, after, rest = paddle.split(videos, _parts(x.shape[1], share), axis=2)
    before = paddle.concat([paddle.zeros_like(before[:, :1]), before], axis=1)[:, :-1]
    after = paddle.concat([after, paddle.zeros_like(after[:, :1])], axis=1)[:, 1:]
    return paddle.concat([before, after, rest], axis=2).flatten(0, 1)


def _parts(channels: int, share: int) -> list[int]:
    """Count the channels from the previous frame, from the next frame, and all others, as F.temporal_shift does."""
    first, second = channels // share, 2 * channels // share
    return [first, second - first, channels - second]

"""PP-TSMv2, a network for CPUs: PP-LCNetV2 whose frames exchange channels once, before its third group of blocks.

It follows PaddleVideo (paddlevideo/modeling/backbones/pptsm_v2.py), without the temporal attention, which all of
PaddleVideo's configurations switch off.
"""

from paddle import nn

from models.lcnet_v2 import LCNetV2
from models.tsm import TSM
from utils.errors import InputError


class PPTSMv2(TSM):
    """Frames of N videos -> logits, the mean of the classifier's logits over the frames.

    num_segments, the T of the training, determines the share of channels that is shifted. PaddleVideo's dropout is
    `dropout` 0.2; its scaling in inference is always part of our backbone.
    """

    def make_backbone(self) -> nn.Layer:
        """Return PP-LCNetV2. Raises InputError for another backbone, or for fewer than 3 segments."""
        if self.variant != "resnet":
            raise InputError(f"MODEL.backbone is {self.variant}; PPTSMv2 has one of its own: leave the key out")
        if self.num_segments < 3:
            raise InputError(
                f"MODEL.seg_num is {self.num_segments}; PPTSMv2 shifts 1/seg_num of the channels in each direction: "
                "it needs 3 segments at least"
            )
        self.variant, self.share = "lcnet_v2", self.num_segments
        return LCNetV2(3 * self.seglen, self.data_format)

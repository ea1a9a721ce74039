"""PP-TSMv2: PP-LCNetV2 whose frames exchange channels once, before its third group of blocks; for processors.

As PaddleVideo has it (paddlevideo/modeling/backbones/pptsm_v2.py), without its temporal attention, which is off in all
of its configurations.
"""

from paddle import nn

from models.lcnet_v2 import LCNetV2
from models.tsm import TSM
from utils.errors import InputError


class PPTSMv2(TSM):
    """Frames of N videos -> logits, the mean over the frames of the classifier's.

    Of num_segments, what it is trained with, comes the share of the channels that is shifted. PaddleVideo's dropout is
    `dropout` 0.2: what it does in inference, the backbone does always.
    """

    def make_backbone(self) -> nn.Layer:
        """Make it as TSN does. Raises InputError for another backbone, or a number of segments without such a share."""
        if self.variant != "resnet":
            raise InputError(f"MODEL.backbone is {self.variant}; PPTSMv2 has one of its own: leave the key out")
        if self.num_segments < 3:
            raise InputError(
                f"MODEL.seg_num is {self.num_segments}; PPTSMv2 shifts 1/seg_num of the channels in each direction: "
                "it needs 3 segments at least"
            )
        self.variant, self.share = "lcnet_v2", self.num_segments
        return LCNetV2(3 * self.seglen, self.data_format)

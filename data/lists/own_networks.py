"""The networks that own classes start from: their MODEL keys with reasons, and their cost."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OwnNetwork:
    """A network, the weights it starts from, and its cost on a CPU."""

    name: str  # MODEL.name, which also names the checkpoints
    keys: str  # lines of MODEL
    pretrain: str  # TRAIN.pretrain
    about: str  # one line on these weights
    dropout: tuple[float, str]  # when all layers are trained, and why; frozen_dropout: when only the classifier is
    frozen_dropout: tuple[float, str]
    segments: int
    video_memory: float  # bytes for each video of a batch, at 224x224 in float32
    train_speed: int  # frames trained a second on a core, roughly
    feature_speed: int  # frames a second on a core when features are computed in float32, roughly


# Of all weights at the cost of ResNet-50, these have the highest published top-1 on Kinetics-400.
STRONG = OwnNetwork(
    name="TSM",
    keys="""\
    # the network of the weights in TRAIN.pretrain: PP-TSM
    name: "TSM"
    # as in these weights
    backbone: "resnet_vd"
    # the frames per video that these weights were trained with
    seg_num: 8
""",
    pretrain="pptsm",
    about="PP-TSM's weights, which know Kinetics-400's actions,",
    dropout=(0.8, "as MIT's TSM is fine-tuned from Kinetics"),
    frozen_dropout=(0.5, "as PP-TSM was trained"),
    segments=8,
    video_memory=0.8e9,
    train_speed=3,
    feature_speed=10,
)
# These weights take 8 frames. The strongest ones take 16, which doubles reading and computing.
LIGHT = OwnNetwork(
    name="PPTSMv2",
    keys="""\
    # a network for CPUs, that of the weights in TRAIN.pretrain; the stronger weights pptsmv2 need seg_num 16 and take
    # twice the time
    name: "PPTSMv2"
    # the frames per video that these weights were trained with
    seg_num: 8
""",
    pretrain="pptsmv2-8-distilled",
    about="PP-TSMv2's weights, which know Kinetics-400's actions,",
    dropout=(0.2, "as PP-TSMv2 was trained"),
    frozen_dropout=(0.2, "as PP-TSMv2 was trained"),
    segments=8,
    video_memory=0.5e9,
    train_speed=3,
    feature_speed=50,
)
# For classes that published weights know: trained like the original, so that results can be compared.
IMAGENET = OwnNetwork(
    name="TSN",
    keys="""\
    # the depth of the ImageNet weights that train.py downloads; another depth needs --pretrain=PATH
    num_layers: 50
""",
    pretrain="",
    about="ImageNet weights",
    dropout=(0.4, "as in mmaction2's TSN, also on UCF101"),
    frozen_dropout=(0.4, "as in mmaction2's TSN, also on UCF101"),
    segments=3,
    video_memory=0.3e9,
    train_speed=3,
    feature_speed=15,
)

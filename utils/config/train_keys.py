"""The keys of TRAIN."""

from dataclasses import dataclass

from utils.config.kinds import Choice, ClassWeights, Number, Pairs, Rising, Text, Truth, Whole
from utils.config.shared_keys import SectionConfig, key


@dataclass(frozen=True)
class TrainConfig(SectionConfig):
    """TRAIN."""

    filelist: str = key("./data/dataset/kinetics/train.list", Text(), "the list of videos, one per line")
    batch_size: int = key(256, Whole(1, 65536), "videos per step, of all devices together")
    epoch: int = key(45, Whole(1, 1_000_000), "times the list is seen")
    learning_rate: float = key(0.01, Number(0, above=True), "at the start; not scaled with the number of devices")
    learning_rate_decay: float = key(0.1, Number(0, 1, above=True), "factor at each of the milestones")
    l2_weight_decay: float = key(1e-4, Number(0), "L2 penalty, on every parameter")
    momentum: float = key(0.9, Number(0, 1, below=True), "of the Momentum optimizer")
    num_gpus: int | None = key(None, Whole(1), "the visible devices count; a warning where this says otherwise")
    seed: int = key(1000, Whole(0, 2**31 - 1), "with --fix_random_seed=True; else a seed is drawn and logged")
    max_unreadable: float = key(0.01, Number(0, 1), "training stops above this share of unreadable videos")
    accumulate_steps: int = key(1, Whole(1, 65536), "batches of batch_size that make one step of the optimizer")
    learning_rate_batch: int = key(
        0, Whole(0), "not 0: learning_rate is meant for steps of so many videos and scaled to ours"
    )
    freeze_batch_norm: bool = key(False, Truth(), "True: BatchNorm keeps the statistics it starts with")
    sync_batch_norm: bool = key(False, Truth(), "True: BatchNorm statistics over all GPUs; not on the CPU")
    amp: str = key(
        "auto",
        Choice(("auto", "off", "O1", "O2")),
        "mixed precision on the GPU; auto: O1 where the GPU has amp_dtype, else off; off: the original's numbers",
    )
    amp_dtype: str = key("bfloat16", Choice(("bfloat16", "float16")), "of amp; float16 scales the loss")
    channels_last: bool = key(False, Truth(), "True: NHWC on the GPU, which is faster in float16 alone")
    engine: str = key(
        "auto",
        Choice(("auto", "eager", "onednn")),
        "what computes a step on the CPU: oneDNN's convolutions, Paddle's own, or the faster, measured; on a GPU eager",
    )
    checkpoint_minutes: float = key(0.0, Number(0), "also save within an epoch, after so many minutes; 0: do not")
    keep_checkpoints: int = key(0, Whole(0), "newest checkpoints kept on disk; 0: all")
    save_dir: str = key("data/checkpoints", Text(), "where checkpoints and the log go")
    multi_scale_crop: str | int = key(
        "none",
        Choice(("none", 5, 13)),
        "not none: crops of several sizes and shapes at one of so many positions, resized to target_size",
    )
    flip: bool = key(True, Truth(), "True: half of the clips, at random, are mirrored; False: none: left is not right")
    flip_pairs: tuple = key(
        (), Pairs(), "classes that a mirror exchanges: [[left, right], ...]; a mirrored clip counts for the other one"
    )
    rand_augment: int = key(0, Whole(0, 14), "RandAugment: so many operations on each clip, on all its frames the same")
    rand_augment_magnitude: float = key(9.0, Number(0, 10), "of rand_augment; 10: the largest changes")
    random_erasing: float = key(
        0.0, Number(0, 1), "the probability that a box of a clip's frames becomes noise, in all of them the same"
    )
    schedule: str = key(
        "steps",
        Choice(("steps", "cosine")),
        "learning_rate falls at the milestones, or along half a cosine to 0, a little in every step",
    )
    milestones: tuple | None = key(
        None,
        Rising(1),
        "with schedule steps: the rate falls after so many epochs; none: after 1/3 and 2/3 of the steps",
    )
    warmup_epochs: float = key(
        0.0, Number(0), "epochs in which the rate first rises from warmup_learning_rate, in every step by as much"
    )
    warmup_learning_rate: float = key(0.0, Number(0), "the rate of the first step, with warmup_epochs")
    nesterov: bool = key(False, Truth(), "True: Nesterov's momentum")
    clip_gradient_norm: float = key(
        0.0, Number(0), "the gradient of all parameters together is scaled down to this length; 0: it is not"
    )
    label_smoothing: float = key(
        0.0, Number(0, 1, below=True), "the share of the target that is spread over all classes"
    )
    mixup_alpha: float = key(
        0.0, Number(0), "videos are mixed in pairs, the share drawn from Beta(alpha, alpha); 0: they are not"
    )
    no_decay_on_bn_and_bias: bool = key(
        False, Truth(), "True: no L2 penalty on BatchNorm's parameters and the classifier's bias"
    )
    classifier_learning_rate: float | None = key(
        None,
        Number(0, above=True),
        "the classifier's weight learns at so many times learning_rate, its bias at twice that; none: both as all else",
    )
    freeze_stages: int = key(
        0,
        Whole(0, 5),
        "so many stages of the network, from its input on, are not trained, nor their BatchNorm's statistics; 5: all "
        "but the classifier",
    )
    feature_views: int = key(
        10,
        Whole(1, 1000),
        "with freeze_stages 5: random views of each training video whose features are computed, once, and trained on",
    )
    balance_classes: bool = key(
        False, Truth(), "True: an epoch has as many videos of each class, of few ones some several times"
    )
    ema: float = key(
        0.0,
        Number(0, 1, below=True),
        "what a step keeps of the weights' moving average, which is validated and saved, such as 0.999; 0: none",
    )
    patience: int = key(
        0, Whole(0), "training ends after so many validations without a better top-1 than the best; 0: it does not"
    )
    class_weights: str | tuple = key(
        "none",
        ClassWeights(),
        "what the loss of each class is multiplied by; balanced: videos / (classes * its videos), 1 in the mean",
    )
    logger: str = key(
        "none",
        Choice(("none", "tensorboard", "visualdl")),
        "a board that gets the numbers of the log, in save_dir/logger",
    )
    pretrain: str = key(
        "",
        Text(empty=True),
        "weights to start from, of their classifier the rows of classes that a manifest names alike: file, folder, "
        "address or name; none: random; '': ImageNet's ResNet-50, downloaded",
    )
    crops: int = key(1, Choice((1,)), "one random crop, whatever MODEL says")


# Keys of TRAIN that do not affect learning, or are compared separately: a resumed run may change them.
NOT_LEARNED = frozenset(
    "filelist num_reader_threads buf_size video_timeout use_gpu format topk decoder crops average num_gpus seed seglen "
    "max_unreadable channels_last engine checkpoint_minutes keep_checkpoints save_dir logger pretrain".split()
)

"""The keys of TRAIN."""

from dataclasses import dataclass

from utils.config.kinds import Choice, ListOf, Number, Pairs, Text, Truth, Whole, WordOr
from utils.config.shared_keys import SectionConfig, key


@dataclass(frozen=True)
class TrainConfig(SectionConfig):
    """TRAIN."""

    filelist: str = key("./data/dataset/kinetics/train.list", Text(), "the list of videos, one per line")
    batch_size: int = key(256, Whole(1, 65536), "videos per step, of all devices together")
    epoch: int = key(45, Whole(1, 1_000_000), "passes over the list")
    learning_rate: float = key(0.01, Number(0, above=True), "at the start; not scaled with the number of devices")
    learning_rate_decay: float = key(0.1, Number(0, 1, above=True), "factor at each of the milestones")
    l2_weight_decay: float = key(1e-4, Number(0), "L2 penalty, on every parameter")
    momentum: float = key(0.9, Number(0, 1, below=True), "of the Momentum optimizer")
    num_gpus: int | None = key(None, Whole(1), "the visible devices count; a different number here gives a warning")
    seed: int = key(1000, Whole(0, 2**31 - 1), "with --fix_random_seed=True; otherwise a seed is drawn and logged")
    max_unreadable: float = key(0.01, Number(0, 1), "training stops above this share of unreadable videos")
    accumulate_steps: int = key(1, Whole(1, 65536), "batches of batch_size that make one step of the optimizer")
    learning_rate_batch: int = key(
        0, Whole(0), "not 0: learning_rate is meant for this number of videos per step, and is scaled to ours"
    )
    freeze_batch_norm: bool = key(False, Truth(), "True: BatchNorm keeps its initial statistics")
    sync_batch_norm: bool = key(False, Truth(), "True: BatchNorm statistics over all GPUs; not on the CPU")
    amp: str = key(
        "auto",
        Choice(("auto", "off", "O1", "O2")),
        "mixed precision on the GPU; auto: O1 if the GPU has amp_dtype, else off; off: the original's numbers",
    )
    amp_dtype: str = key(
        "bfloat16", Choice(("bfloat16", "float16")), "the type for amp; with float16 the loss is scaled"
    )
    channels_last: bool = key(False, Truth(), "True: NHWC on the GPU, which is faster in float16 only")
    engine: str = key(
        "auto",
        Choice(("auto", "eager", "onednn")),
        "computes a step on the CPU: oneDNN's convolutions, Paddle's (eager), or the faster one (auto); on a GPU eager",
    )
    checkpoint_minutes: float = key(0.0, Number(0), "also save within an epoch, after this many minutes; 0: never")
    keep_checkpoints: int = key(0, Whole(0), "number of newest checkpoints kept on disk; 0: all")
    save_dir: str = key("data/checkpoints", Text(), "where checkpoints and the log go")
    multi_scale_crop: str | int = key(
        "none",
        Choice(("none", 5, 13)),
        "not none: crops of several sizes and shapes at one of this many positions, resized to target_size",
    )
    flip: bool = key(True, Truth(), "True: mirror half of the clips, at random; False: none, if left and right differ")
    flip_pairs: tuple = key(
        (), Pairs(), "classes that a mirror exchanges: [[left, right], ...]; a mirrored clip gets the other class"
    )
    rand_augment: int = key(0, Whole(0, 14), "RandAugment: operations on each clip, the same on all its frames")
    rand_augment_magnitude: float = key(9.0, Number(0, 10), "strength of rand_augment; 10: the largest changes")
    random_erasing: float = key(
        0.0, Number(0, 1), "the probability that a box becomes noise, the same in all frames of a clip"
    )
    schedule: str = key(
        "steps",
        Choice(("steps", "cosine")),
        "steps: learning_rate falls at the milestones; cosine: in every step, along half a cosine to 0",
    )
    milestones: tuple | None = key(
        None,
        ListOf(
            Whole(1), "a list of rising whole numbers from 1 up", lambda values: list(values) == sorted(set(values))
        ),
        "with schedule steps: the epochs after which the rate falls; none: after 1/3 and 2/3 of the steps",
    )
    warmup_epochs: float = key(
        0.0, Number(0), "first epochs, in which the rate rises linearly from warmup_learning_rate"
    )
    warmup_learning_rate: float = key(0.0, Number(0), "the rate of the first step, with warmup_epochs")
    nesterov: bool = key(False, Truth(), "True: Nesterov's momentum")
    clip_gradient_norm: float = key(
        0.0, Number(0), "a longer gradient of all parameters together is scaled down to this length; 0: never"
    )
    label_smoothing: float = key(
        0.0, Number(0, 1, below=True), "the share of the target that is spread over all classes"
    )
    mixup_alpha: float = key(
        0.0, Number(0), "videos are mixed in pairs, with a share drawn from Beta(alpha, alpha); 0: no mixing"
    )
    no_decay_on_bn_and_bias: bool = key(
        False, Truth(), "True: no L2 penalty on BatchNorm's parameters and the classifier's bias"
    )
    classifier_learning_rate: float | None = key(
        None,
        Number(0, above=True),
        "multiple of learning_rate for the classifier's weight; twice that for its bias; none: both as the rest",
    )
    freeze_stages: int = key(
        0,
        Whole(0, 5),
        "number of stages, from the input on, that are not trained, including their BatchNorm's statistics; 5: all but "
        "the classifier",
    )
    feature_views: int = key(
        10,
        Whole(1, 1000),
        "with freeze_stages 5: random views of each training video; their features are computed once and trained on",
    )
    balance_classes: bool = key(
        False, Truth(), "True: an epoch has equally many videos of each class; those of small classes repeat"
    )
    ema: float = key(
        0.0,
        Number(0, 1, below=True),
        "share that a step keeps of the weights' moving average (validated and saved), such as 0.999; 0: none",
    )
    patience: int = key(
        0, Whole(0), "training ends after this many validations without a new best top-1; 0: it does not"
    )
    class_weights: str | tuple = key(
        "none",
        WordOr(("none", "balanced"), ListOf(Number(0, above=True), "a list of a number above 0 for each class")),
        "factors for the loss of each class; balanced: videos / (classes * videos of the class), with mean 1",
    )
    logger: str = key(
        "none",
        Choice(("none", "tensorboard", "visualdl")),
        "also write the numbers of the log for this board, in save_dir/logger",
    )
    pretrain: str = key(
        "",
        Text(empty=True),
        "weights to start from: file, folder, address or name; the classifier keeps the rows of classes with the same "
        "name in a manifest; none: random; '': ImageNet's ResNet-50, downloaded",
    )
    crops: int = key(1, Choice((1,)), "one random crop, even if MODEL has more")


# Keys of TRAIN that do not affect learning, or are compared separately: a resumed run may change them.
NOT_LEARNED = frozenset(
    "filelist num_reader_threads buf_size video_timeout use_gpu format topk decoder crops average num_gpus seed seglen "
    "max_unreadable channels_last engine checkpoint_minutes keep_checkpoints save_dir logger pretrain".split()
)

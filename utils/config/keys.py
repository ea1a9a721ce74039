"""The keys of a configuration: one line each with default, what values it takes, and what it means."""

from dataclasses import Field, dataclass, field, fields

from utils.config.kinds import Auto, Choice, Colour, Kind, Number, Pairs, Rising, Text, Truth, Whole

# Keys of the original that have no effect here. The schedule counts the list itself, processes are started by the
# launcher, and frames are never decoded by DALI.
IGNORED_KEYS = ("total_videos", "use_dali", "num_trainers", "trainer_id")


def key(default: object, kind: Kind, meaning: str) -> Field:
    """A dataclass field for one key; `kind` checks its values, `meaning` is its line in the reference table."""
    return field(default=default, metadata={"kind": kind, "meaning": meaning, "inherited": False})


def from_model(name: str) -> Field:
    """A key of MODEL that a section may override; where it does not, MODEL's value holds."""
    model = {item.name: item for item in fields(ModelConfig)}[name]
    return field(default=model.default, metadata={**model.metadata, "inherited": True})


@dataclass(frozen=True)
class ModelConfig:
    """MODEL: the network, and what every section inherits."""

    name: str = key("TSN", Text(), "the model: TSN, TSM, PPTSMv2, in upper or lower case")
    format: str = key("mp4", Choice(("mp4", "pkl")), "mp4: the lists name videos; pkl: pickles of JPEG frames")
    num_classes: int = key(400, Whole(1, 1_000_000), "classes; labels run from 0 to num_classes - 1")
    seg_num: int = key(3, Whole(1, 1000), "segments a video is cut into; each gives seglen frames")
    seglen: int = key(1, Whole(1, 100), "consecutive frames per segment, stacked as channels")
    image_mean: tuple = key((0.485, 0.456, 0.406), Colour(Number(-1e3, 1e3)), "subtracted from RGB in 0..1")
    image_std: tuple = key((0.229, 0.224, 0.225), Colour(Number(0, 1e3, above=True)), "RGB is divided by it after that")
    backbone: str = key(
        "resnet",
        Choice(("resnet", "resnet_vd")),
        "of TSN and TSM; resnet: v1.5; resnet_vd: as in PP-TSN and PP-TSM",
    )
    num_layers: int = key(50, Choice((18, 34, 50, 101, 152)), "depth of the ResNet of TSN and TSM")
    dropout: float = key(0.0, Number(0, 1, below=True), "share of the features hidden from the classifier in training")
    topk: int = key(5, Whole(1), "classes named per video; num_classes, where the file or the default has more")
    decoder: str = key("auto", Choice(("auto", "pyav", "decord", "opencv")), "the library that decodes videos")
    sampling: str = key(
        "segment",
        Choice(("segment", "uniform", "linspace")),
        "which frames: the original's, mmaction2's, or those of PP-TSN's test (TRAIN draws as the original does, with "
        "uniform as mmaction2)",
    )
    resize: str = key(
        "pillow",
        Choice(("pillow", "opencv")),
        "pillow: the original's; opencv: the peers', not antialiased, centre crop rounded down",
    )
    keep_aspect_ratio: bool = key(
        False,
        Truth(),
        "False: frames become 4:3 as in the original; True: keep their shape; not given: False with pillow, True with "
        "opencv",
    )
    crops: int = key(
        1,
        Choice((1, 3, 10)),
        "1: centre; 3: ends and middle of the long side, of side short_size; 10: corners and centre, and their mirrors "
        "(TRAIN: always 1, random)",
    )
    average: str = key(
        "logits",
        Choice(("logits", "probabilities")),
        "what is averaged over a video's crops; the peers' TSM: probabilities",
    )


@dataclass(frozen=True)
class SectionConfig:
    """What TRAIN, VALID, TEST and INFER share: how videos are read."""

    filelist: str = key("", Text(), "the list of videos, one per line; '' for VALID: no validation")
    batch_size: int = key(1, Whole(1, 65536), "videos per step, of all devices together")
    short_size: int = key(256, Whole(1, 4096), "frames are resized to this short side, in pixels")
    target_size: int = key(224, Whole(1, 4096), "side of the square cropped from them, in pixels; at most short_size")
    num_reader_threads: int | str = key(
        "auto",
        Auto(Whole(1, 256)),
        "processes that decode at the same time, for each device; auto, and at most: the cores of its machine, shared "
        "by the devices that are there",
    )
    buf_size: int = key(1024, Whole(1, 1_000_000), "videos read ahead, at most")
    video_timeout: float = key(
        60.0, Number(0, 86400, above=True), "seconds after which a video is given up as unreadable"
    )
    use_gpu: bool = key(True, Truth(), "True: the GPU where there is one, else the CPU; False: the CPU")
    seg_num: int = from_model("seg_num")
    seglen: int = from_model("seglen")
    image_mean: tuple = from_model("image_mean")
    image_std: tuple = from_model("image_std")
    format: str = from_model("format")
    topk: int = from_model("topk")
    decoder: str = from_model("decoder")
    sampling: str = from_model("sampling")
    resize: str = from_model("resize")
    keep_aspect_ratio: bool = from_model("keep_aspect_ratio")
    crops: int = from_model("crops")
    average: str = from_model("average")

    @property
    def image_size(self) -> int:
        """The side, in pixels, of the square images that the network gets."""
        return self.short_size if self.crops == 3 else self.target_size


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
    logger: str = key(
        "none",
        Choice(("none", "tensorboard", "visualdl")),
        "a board that gets the numbers of the log, in save_dir/logger",
    )
    pretrain: str = key(
        "",
        Text(empty=True),
        "weights to start from, without their classifier: file, folder, address or name; none: random; '': ImageNet's "
        "ResNet-50, downloaded",
    )
    crops: int = key(1, Choice((1,)), "one random crop, whatever MODEL says")


# Keys of TRAIN that change nothing of what is learned, or are compared by themselves: a run may go on with others.
NOT_LEARNED = frozenset(
    "filelist num_reader_threads buf_size video_timeout use_gpu format topk decoder crops average num_gpus seed seglen "
    "max_unreadable channels_last engine checkpoint_minutes keep_checkpoints save_dir logger pretrain".split()
)


@dataclass(frozen=True)
class ValidConfig(SectionConfig):
    """VALID: validation between the epochs of train.py."""

    filelist: str = key("./data/dataset/kinetics/val.list", Text(empty=True), "the list of videos; '': no validation")
    batch_size: int = key(256, Whole(1, 65536), "videos per step, of all devices together")


_PRECISION = Choice(("auto", "float32", "bfloat16", "float16", "int8"))
_ARITHMETIC = (
    "arithmetic; auto: bfloat16 where the processor or GPU has it; float16: on a GPU; int8: on the CPU, see calibration"
)


@dataclass(frozen=True)
class EngineConfig(SectionConfig):
    """What TEST and INFER share besides: how the network is computed."""

    weights: str = key("", Text(empty=True), "file, folder, address or name of weights; '': the original's, downloaded")
    precision: str = key("auto", _PRECISION, _ARITHMETIC)
    calibration: str = key(
        "", Text(empty=True), "for precision int8: a list of videos, of which no labels are needed, to round by"
    )
    int8_agreement: float = key(
        0.95,
        Number(0, 1),
        "for precision int8: the share of calibration videos that must keep their likeliest class",
    )


@dataclass(frozen=True)
class TestConfig(EngineConfig):
    """TEST: eval.py."""

    __test__ = False  # the name is not for pytest to collect

    filelist: str = key("./data/dataset/kinetics/test.list", Text(), "the list of videos, one per line")
    batch_size: int = key(16, Whole(1, 65536), "videos per step, of all devices together")
    precision: str = key("float32", _PRECISION, _ARITHMETIC)


@dataclass(frozen=True)
class InferConfig(EngineConfig):
    """INFER: predict.py and export.py."""

    filelist: str = key("./data/dataset/kinetics/infer.list", Text(), "the list of videos, one per line")
    video_path: str = key(
        "",
        Text(empty=True),
        "a video, a folder of them, or a pattern such as clips/*.mp4, instead of the list; '': the list",
    )
    feature_dtype: str = key(
        "float32", Choice(("float16", "float32")), "of the features that --features writes; float16: half the disk"
    )
    kinetics_labels: str = key(
        "./data/dataset/kinetics_labels.json",
        Text(empty=True),
        "JSON list with the name of each class; '': they are called by their number",
    )


SECTIONS = {"MODEL": ModelConfig, "TRAIN": TrainConfig, "VALID": ValidConfig, "TEST": TestConfig, "INFER": InferConfig}


def section_name(section: SectionConfig) -> str:
    """Return "TRAIN", "VALID", "TEST" or "INFER", as errors name it."""
    return next(name for name, kind in SECTIONS.items() if type(section) is kind)

"""Define the keys of a configuration, one line each: default, allowed values, meaning."""

from dataclasses import dataclass

from utils.config.kinds import Choice, Number, Text, Whole
from utils.config.shared_keys import ModelConfig, SectionConfig, key
from utils.config.train_keys import TrainConfig

# Keys of the original without effect here: the schedule counts the list itself, the launcher starts processes, and DALI
# is never used.
IGNORED_KEYS = ("total_videos", "use_dali", "num_trainers", "trainer_id")


@dataclass(frozen=True)
class ValidConfig(SectionConfig):
    """VALID: validation between the epochs of train.py."""

    filelist: str = key("./data/dataset/kinetics/val.list", Text(empty=True), "the list of videos; '': no validation")
    batch_size: int = key(256, Whole(1, 65536), "videos per step, of all devices together")


_PRECISION = Choice(("auto", "float32", "bfloat16", "float16", "int8"))
_ARITHMETIC = (
    "arithmetic; auto: bfloat16 if the processor or GPU has it; float16: on a GPU; int8: on the CPU, see calibration"
)


@dataclass(frozen=True)
class EngineConfig(SectionConfig):
    """The keys that TEST and INFER share besides: how the network is computed."""

    weights: str = key("", Text(empty=True), "file, folder, address or name of weights; '': the original's, downloaded")
    precision: str = key("auto", _PRECISION, _ARITHMETIC)
    calibration: str = key(
        "", Text(empty=True), "for precision int8: a list of videos, with or without labels, to choose the rounding by"
    )
    int8_agreement: float = key(
        0.95,
        Number(0, 1),
        "for precision int8: the share of calibration videos that must keep their most probable class",
    )


@dataclass(frozen=True)
class TestConfig(EngineConfig):
    """TEST: eval.py."""

    __test__ = False  # keeps pytest from collecting it

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
        "a video, a folder of videos, or a pattern such as clips/*.mp4, instead of the list; '': the list",
    )
    feature_dtype: str = key(
        "float32",
        Choice(("float16", "float32")),
        "the type of the features that --features writes; float16: half the size",
    )
    kinetics_labels: str = key(
        "./data/dataset/kinetics_labels.json",
        Text(empty=True),
        "JSON list with the name of each class; '': their numbers are their names",
    )


SECTIONS = {"MODEL": ModelConfig, "TRAIN": TrainConfig, "VALID": ValidConfig, "TEST": TestConfig, "INFER": InferConfig}


def section_name(section: SectionConfig) -> str:
    """Return "TRAIN", "VALID", "TEST" or "INFER", as in error messages."""
    return next(name for name, kind in SECTIONS.items() if type(section) is kind)

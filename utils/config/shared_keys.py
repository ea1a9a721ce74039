"""Define the keys that sections share: MODEL's, and those for reading videos."""

from dataclasses import Field, dataclass, field, fields

from utils.config.kinds import Choice, Kind, ListOf, Number, Template, Text, Truth, Whole, WordOr


def key(default: object, kind: Kind, meaning: str) -> Field:
    """Return a dataclass field for a key. `kind` checks its values, `meaning` is its line in the reference table."""
    return field(default=default, metadata={"kind": kind, "meaning": meaning, "inherited": False})


def kinds_of(section: type) -> dict[str, Kind]:
    """Return the kind of each key of a section's class."""
    return {item.name: item.metadata["kind"] for item in fields(section)}


def from_model(name: str) -> Field:
    """Return a key of MODEL that a section may override; otherwise MODEL's value applies."""
    model = {item.name: item for item in fields(ModelConfig)}[name]
    return field(default=model.default, metadata={**model.metadata, "inherited": True})


def _three(each: Number) -> ListOf:
    allowed = str(each).removeprefix("a number ")
    return ListOf(each, f"a list of three numbers, each {allowed}", lambda values: len(values) == 3)


@dataclass(frozen=True)
class ModelConfig:
    """MODEL: the network, and the keys that every section inherits."""

    name: str = key("TSN", Text(), "the model: TSN, TSM or PPTSMv2, in upper or lower case")
    format: str = key(
        "mp4",
        Choice(("mp4", "pkl", "frames")),
        "mp4: the lists name videos; pkl: pickles of JPEG frames; frames: folders of them, see filename_tmpl",
    )
    filename_tmpl: str = key(
        "img_{:05}.jpg",
        Template(),
        "for format frames: the files (JPEG, PNG) by number, from 1 on, or from 0 if there is such a file",
    )
    data_prefix: str = key("", Text(empty=True), "the folder for relative paths in the lists")
    num_classes: int = key(400, Whole(1, 1_000_000), "classes; labels run from 0 to num_classes - 1")
    labels: str = key(
        "single",
        Choice(("single", "multi")),
        "single: a class for each video; multi: one or several, lists `path 3,17,40` or `path 3 17 40`",
    )
    seg_num: int = key(3, Whole(1, 1000), "segments of a video; each gives seglen frames")
    seglen: int = key(1, Whole(1, 100), "consecutive frames per segment, stacked as channels")
    image_mean: tuple = key((0.485, 0.456, 0.406), _three(Number(-1e3, 1e3)), "subtracted from RGB in 0..1")
    image_std: tuple = key((0.229, 0.224, 0.225), _three(Number(0, 1e3, above=True)), "RGB is divided by it after that")
    backbone: str = key(
        "resnet",
        Choice(("resnet", "resnet_vd")),
        "for TSN and TSM; resnet: v1.5; resnet_vd: as in PP-TSN and PP-TSM",
    )
    num_layers: int = key(50, Choice((18, 34, 50, 101, 152)), "depth of the ResNet of TSN and TSM")
    dropout: float = key(0.0, Number(0, 1, below=True), "share of the features hidden from the classifier in training")
    topk: int = key(5, Whole(1), "classes named per video; at most num_classes: larger values of the file are cut")
    decoder: str = key("auto", Choice(("auto", "pyav", "decord", "opencv")), "the library that decodes videos")
    sampling: str = key(
        "segment",
        Choice(("segment", "uniform", "linspace")),
        "which frames: segment: the original's; uniform: mmaction2's; linspace: those of PP-TSN's test (TRAIN draws as "
        "the original, with uniform as mmaction2)",
    )
    resize: str = key(
        "pillow",
        Choice(("pillow", "opencv")),
        "pillow: the original's; opencv: the peers', not antialiased, centre crop rounded down",
    )
    keep_aspect_ratio: bool = key(
        False,
        Truth(),
        "False: frames become 4:3 as in the original; True: they keep their shape; not given: False with pillow, True "
        "with opencv",
    )
    crops: int = key(
        1,
        Choice((1, 3, 10)),
        "1: centre; 3: ends and middle of the long side, with side short_size; 10: corners and centre, and their "
        "mirror images (TRAIN: always 1, random)",
    )
    average: str = key(
        "logits",
        Choice(("logits", "probabilities")),
        "which of them are averaged over a video's crops; the peers' TSM: probabilities",
    )


@dataclass(frozen=True)
class SectionConfig:
    """The keys that TRAIN, VALID, TEST and INFER share: how videos are read."""

    filelist: str = key("", Text(), "the list of videos, one per line; '' for VALID: no validation")
    batch_size: int = key(1, Whole(1, 65536), "videos per step, of all devices together")
    short_size: int = key(256, Whole(1, 4096), "frames are resized to this short side, in pixels")
    target_size: int = key(224, Whole(1, 4096), "side of the square cropped from them, in pixels; at most short_size")
    num_reader_threads: int | str = key(
        "auto",
        WordOr(("auto",), Whole(1, 256)),
        "processes that decode at the same time, for each device; auto, which is also the most: the machine's cores, "
        "divided by its devices",
    )
    buf_size: int = key(1024, Whole(1, 1_000_000), "most videos read ahead")
    video_timeout: float = key(60.0, Number(0, 86400, above=True), "seconds after which a video counts as unreadable")
    use_gpu: bool = key(True, Truth(), "True: the GPU if there is one, else the CPU; False: the CPU")
    seg_num: int = from_model("seg_num")
    seglen: int = from_model("seglen")
    image_mean: tuple = from_model("image_mean")
    image_std: tuple = from_model("image_std")
    format: str = from_model("format")
    filename_tmpl: str = from_model("filename_tmpl")
    data_prefix: str = from_model("data_prefix")
    topk: int = from_model("topk")
    decoder: str = from_model("decoder")
    sampling: str = from_model("sampling")
    resize: str = from_model("resize")
    keep_aspect_ratio: bool = from_model("keep_aspect_ratio")
    crops: int = from_model("crops")
    average: str = from_model("average")

    @property
    def image_size(self) -> int:
        """Return the side, in pixels, of the network's square input images."""
        return self.short_size if self.crops == 3 else self.target_size

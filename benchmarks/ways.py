"""Define ways from a video file to its five likeliest classes, for the benchmarks; one at a time in a process.

`python benchmarks/ways.py NAME VIDEO` loads a way, uses it once and prints the classes: a cold start.
"""

import importlib.util
import multiprocessing
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # benchmarks are run as files
from utils.errors import RunError

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = ROOT / "benchmarks" / "results" / "random_resnet50.pdparams"
SETTINGS = ("INFER.seg_num=7", "INFER.use_gpu=False")
LIGHT = "PPTSMv2"


@dataclass(frozen=True)
class Way:
    """A way from a file to its classes in three stages: each gets the result of the one before."""

    decode: Callable
    crop: Callable
    network: Callable


def original() -> Way:
    """Return the original's way: OpenCV reads all frames, Pillow resizes and crops, the network runs eagerly."""
    import paddle
    from PIL import Image

    from benchmarks.decode import opencv
    from reader.transforms import crop_offset, resized_size

    model, _ = eager_model()
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)

    def crop(frames: list[np.ndarray]) -> np.ndarray:
        clip = []
        for frame in frames:
            image = Image.fromarray(frame)
            image = image.resize(resized_size(*image.size, 256), Image.Resampling.BILINEAR)
            left, top = crop_offset(*image.size, 224)
            pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32).transpose(2, 0, 1) / 255
            clip.append((pixels - mean) / std)
        return np.stack(clip)  # [T, 3, H, W]

    def network(clip: np.ndarray) -> np.ndarray:
        with paddle.no_grad():
            features = model.backbone(paddle.to_tensor(clip)).mean(axis=0, keepdim=True)
            return paddle.nn.functional.softmax(model.fc(features)).topk(5)[1].numpy()

    return Way(lambda path: opencv(path, 7, read_all=True), crop, network)


def decord_eager() -> Way:
    """Return a way in which decord reads the wanted frames; the rest is ours, but eager."""
    import paddle

    from benchmarks.decode import decord

    model, top = eager_model()

    def network(clip: np.ndarray) -> list:
        with paddle.no_grad():
            return top(model(paddle.to_tensor(clip[None])).numpy())

    return Way(lambda path: decord(path, 7), lambda frames: crop_like_ours(frames), network)


def ours(precision: str, model: str = "TSN") -> Way:
    """Return predict.py's way."""
    from inference.network import load_network
    from inference.rows import top_predictions
    from reader.decode import read_frames
    from reader.sampling import segment_indices
    from utils.config.loading import load_config

    settings = [*SETTINGS, f"MODEL.name={model}", *precision_settings(precision), f"INFER.weights={weights_of(model)}"]
    config = load_config(ROOT / "configs" / "tsn.yaml", {}, settings)
    network = load_network(config, config.infer, "cpu", num_videos=1)
    names = [str(k) for k in range(400)]
    return Way(
        lambda path: read_frames(path, lambda n: segment_indices(n, 7)),
        crop_like_ours,
        lambda clip: top_predictions(network(clip[None]), names, 5),
    )


def precision_settings(precision: str) -> list[str]:
    """Return the settings of a precision. For int8, write and name a calibration list, and allow any agreement."""
    settings = [f"INFER.precision={precision}"]
    if precision == "int8":
        from benchmarks.common import RESULTS, ClipKind, make_clips

        filelist = RESULTS / "int8.list"
        filelist.write_text("".join(f"{path}\n" for path in make_clips(ClipKind("340x256 default", 340, 256), 4)))
        settings += [f"INFER.calibration={filelist}", "INFER.int8_agreement=0"]
    return settings


def mmaction2() -> Way:
    """Return mmaction2's own pipeline and recognizer from its tsn_r50_1x1x7 configuration: decord, PyTorch eager."""
    for name in ("mmaction.models.localizers.drn", "mmaction.models.localizers.drn.drn"):
        sys.modules[name] = types.ModuleType(name)  # imported by mmaction2 1.2.0, but missing in its wheel
    sys.modules[name].DRN = None
    import torch
    from mmaction.registry import MODELS
    from mmengine.dataset import Compose
    from mmengine.registry import init_default_scope

    torch.set_num_threads(1)
    init_default_scope("mmaction")
    head = {"type": "TSNHead", "num_classes": 400, "in_channels": 2048, "average_clips": "prob"}
    normalise = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "format_shape": "NCHW"}
    model = MODELS.build(
        {
            "type": "Recognizer2D",
            "backbone": {"type": "ResNet", "depth": 50, "norm_eval": False, "pretrained": None},
            "cls_head": {**head, "consensus": {"type": "AvgConsensus", "dim": 1}},
            "data_preprocessor": {"type": "ActionDataPreprocessor", **normalise},
        }
    ).eval()
    sample = {"type": "SampleFrames", "clip_len": 1, "frame_interval": 1, "num_clips": 7, "test_mode": True}
    decode = Compose([{"type": "DecordInit", "num_threads": 1}, sample, {"type": "DecordDecode"}])
    crop = Compose(
        [
            {"type": "Resize", "scale": (-1, 256)},
            {"type": "CenterCrop", "crop_size": 224},
            {"type": "FormatShape", "input_format": "NCHW"},
            {"type": "PackActionInputs"},
        ]
    )

    def network(clip: dict) -> object:
        with torch.no_grad():
            result = model.test_step({"inputs": [clip["inputs"]], "data_samples": [clip["data_samples"]]})
        return result[0].pred_score.topk(5).indices.tolist()

    video = {"label": -1, "start_index": 0, "modality": "RGB"}
    return Way(lambda path: decode({"filename": path, **video}), crop, network)


def crop_like_ours(frames: np.ndarray) -> np.ndarray:
    from reader.clip import ClipSpec
    from reader.transforms import crop_frame

    return np.concatenate([crop_frame(frame, ClipSpec(1, 1, 256, 224)) for frame in frames])


def eager_model() -> tuple[object, Callable[[np.ndarray], list]]:
    """Return our network in paddle's eager mode, and a function that names the five likeliest classes of its logits."""
    from inference.rows import top_predictions
    from models.weights.fitting import load_model
    from utils.config.loading import load_config
    from utils.processes.device import use_device

    use_device("cpu")
    model = load_model(load_config(ROOT / "configs" / "tsn.yaml").model, WEIGHTS)
    return model, lambda logits: top_predictions(logits, [str(k) for k in range(400)], 5)


def weights_of(model: str) -> Path:
    """Return the path of a network's random weights; TSM shares TSN's."""
    return WEIGHTS.with_name("random_pptsm_v2.pdparams") if model == LIGHT else WEIGHTS


def make_weights() -> None:
    """Write random WEIGHTS, the same on every run, if they are missing. A process does it, to keep its memory apart."""
    for model in ("TSN", LIGHT):
        if not (path := weights_of(model)).exists():
            process = multiprocessing.get_context("spawn").Process(target=_write_weights, args=(model, path))
            process.start()
            process.join()
            if process.exitcode:
                raise RunError(f"{path}: cannot be made")


def _write_weights(model: str, path: Path) -> None:
    import paddle

    from models import build_model
    from utils.config.loading import load_config
    from utils.storage.files import write_atomic

    paddle.seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    state = build_model(load_config(ROOT / "configs" / "tsn.yaml", {}, [f"MODEL.name={model}"]).model).state_dict()
    write_atomic(path, lambda temporary: paddle.save(state, str(temporary)))


ORIGINAL, FLOAT32, BFLOAT16, INT8 = "the original's way", "ours, float32", "ours, bfloat16", "ours, int8"
WAYS: dict[str, Callable[[], Way]] = {
    ORIGINAL: original,
    "decord, eager": decord_eager,
    "mmaction2": mmaction2,
    FLOAT32: partial(ours, "float32"),
    BFLOAT16: partial(ours, "bfloat16"),
    INT8: partial(ours, "int8"),
    f"{FLOAT32}, TSM": partial(ours, "float32", "TSM"),
    f"{BFLOAT16}, TSM": partial(ours, "bfloat16", "TSM"),
    f"{INT8}, TSM": partial(ours, "int8", "TSM"),
    f"{FLOAT32}, PP-TSMv2": partial(ours, "float32", LIGHT),
    f"{BFLOAT16}, PP-TSMv2": partial(ours, "bfloat16", LIGHT),
    f"{INT8}, PP-TSMv2": partial(ours, "int8", LIGHT),
}


def available_ways() -> list[str]:
    """Return the names of the ways that can run on this machine."""
    from utils.processor import has_bfloat16

    needed = {"decord, eager": "decord", "mmaction2": "mmaction"} | {name: "nncf" for name in WAYS if INT8 in name}
    missing = {name for name, module in needed.items() if not importlib.util.find_spec(module)}
    return [name for name in WAYS if name not in missing and (not name.startswith(BFLOAT16) or has_bfloat16())]


if __name__ == "__main__":
    way = WAYS[sys.argv[1]]()
    print(way.network(way.crop(way.decode(sys.argv[2]))))

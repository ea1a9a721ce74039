"""The folder that export.py writes: a graph from frames to probabilities, with its weights and its configuration."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle

from inference.engine import FRAMES_PER_CALL, open_predictor, run_in_parts
from inference.environment import STEM
from utils.config import Config, load_config
from utils.config_keys import SectionConfig
from utils.errors import InputError, RunError

# What must be the same in the exported folder and in the section that reads the videos for it.
SHAPE_KEYS = ("seg_num", "seglen", "target_size")


class _Probabilities(paddle.nn.Layer):
    """uint8 frames -> softmax of the network's logits."""

    def __init__(self, network: paddle.nn.Layer):
        super().__init__()
        self.network = network

    def forward(self, frames):
        return paddle.nn.functional.softmax(self.network(frames))


def save_graph(model: paddle.nn.Layer, section: SectionConfig, folder: Path) -> None:
    """Writes model.json and model.pdiparams for clips as `section` cuts them, any number of videos at a time.

    Raises:
        RunError: the files cannot be written.
    """
    size = section.target_size
    shape = [None, section.seg_num, size, size, 3 * section.seglen]
    model.eval()
    try:
        paddle.jit.save(_Probabilities(model), str(folder / STEM), [paddle.static.InputSpec(shape, "uint8", "frames")])
    except (OSError, RuntimeError) as error:
        raise RunError(f"{folder}: the graph cannot be written: {str(error).splitlines()[0]}") from None


def load_graph(
    folder: Path, config: Config, section: SectionConfig, device: str, precision: str, threads: int
) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 frames [N, T, H, W, C] to probabilities float32 [N, K].

    Raises:
        InputError: the folder is incomplete, or was exported for other clips or classes than the configuration's.
    """
    exported = load_config(folder / "config.yaml")
    theirs = {"num_classes": exported.model.num_classes} | {key: getattr(exported.infer, key) for key in SHAPE_KEYS}
    ours = {"num_classes": config.model.num_classes} | {key: getattr(section, key) for key in SHAPE_KEYS}
    differing = [f"{key} {theirs[key]} (the configuration has {ours[key]})" for key in ours if ours[key] != theirs[key]]
    if differing:
        raise InputError(f"{folder}: exported with {', '.join(differing)}")
    graph, weights = folder / f"{STEM}.json", folder / f"{STEM}.pdiparams"
    if not graph.is_file():
        raise InputError(f"{folder}: {graph.name} is missing")
    settings = paddle.inference.Config(str(graph), str(weights))
    if device == "gpu":
        settings.enable_use_gpu(256, 0)  # MB taken at the start; it grows as needed
    elif precision == "bfloat16":
        settings.enable_mkldnn_bfloat16()
    try:
        run = open_predictor(settings, threads)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{folder}: not a graph that paddle.inference can load: {str(error).splitlines()[-1]}") from None
    return lambda frames: run_in_parts(run, frames, max(1, FRAMES_PER_CALL // frames.shape[1]))

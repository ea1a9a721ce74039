"""A network ready to answer: uint8 frames in, logits and features out, whatever runs behind it."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import paddle

from inference.cache import digest
from inference.engine import FRAMES_PER_CALL, Engine
from inference.exported import exported_weights, is_exported
from inference.graph import Classifier, open_engine
from inference.precision import choose_precision
from inference.processes import EngineProcesses
from inference.views import Output, Start, in_pieces, over_views
from models import build_model, get_model_class, section_model
from models.weights.download import published_tsn
from models.weights.files import find_weights
from models.weights.loading import load_weights
from models.weights.remote import origin
from utils.config.keys import InferConfig, ModelConfig, TestConfig
from utils.config.loading import Config
from utils.errors import InputError
from utils.log import say
from utils.processes.limits import available_cores


@dataclass(frozen=True)
class Network:
    """A callable: uint8 frames [N, V * T, H, W, 3 * seglen] -> float32 logits [N, K]."""

    start: Start
    ahead: int  # batches to start before the first one is waited for; 0: `start` itself computes
    description: str  # engine, precision, weights: what a reported number depends on
    arithmetic: str = ""  # of these the first two
    weights: str = ""  # and the SHA-256 of the third
    num_features: int = 0  # F
    views: Start | None = None  # the same of single views, before a video's are averaged
    frames_apart: bool = False  # whether a view's logits are the mean of those of its segments, each computed alone
    model: Callable[[], paddle.nn.Layer] | None = None  # the network itself, eager and in evaluation mode

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return self.start(frames)().logits


def load_network(
    config: Config,
    section: TestConfig | InferConfig,
    device: str,
    num_videos: int,
    num_ranks: int = 1,
) -> Network:
    """The network for a section's clips, with its weights, which may also be a folder that export.py wrote.

    num_videos: as many are to be expected. num_ranks: processes that share the processor.

    Raises InputError when the weights are missing or do not fit, or the precision is not to be had.
    """
    model_config = section_model(config.model, section)
    model_class = get_model_class(model_config.name)
    eager = device == "gpu" or not hasattr(model_class, "frame_features")
    precision = "float32" if eager else choose_precision(section.precision)
    if section.precision == "auto" and precision == "bfloat16":
        say("precision auto: bfloat16, which this processor has; --precision=float32 for full precision")
    elif section.precision == "bfloat16" and eager:
        say(f"precision bfloat16 is for the CPU's engine: {model_config.name} is computed in float32 on the {device}")
    path = find_weights(section.weights or published_weights(model_config))
    if is_exported(path):
        path = exported_weights(path, config, section)
    sha256 = weights_digest(path)
    arithmetic = f"{precision} on {device} ({'eager' if eager else 'oneDNN'})"
    description = f"{arithmetic}, weights {describe_weights(path, sha256)}"
    make = partial(load_model, model_config, path)
    if eager:
        model = make()
        num_features = model.backbone.num_features
        network = Network(in_pieces(eager_start(model), device), 1, description, model=lambda: model)
    else:
        cores = max(1, available_cores() // num_ranks)
        # Of one crop each: many videos are worth a process per core, many crops of a video not its 600 MB.
        calls = math.ceil(num_videos / num_ranks * section.seg_num / FRAMES_PER_CALL)
        engine, classifier = open_engine(model_config, section.image_size, precision, sha256, make, cores, calls)
        num_features = classifier.num_features
        start = engine_start(engine, classifier, model_class.shifts)
        network = Network(start, engine.ahead, description, model=make)
    return replace(
        network,
        start=over_views(network.start, section),
        arithmetic=arithmetic,
        weights=sha256,
        num_features=num_features,
        views=network.start,
        frames_apart=hasattr(model_class, "frame_features") and not model_class.shifts,
    )


def engine_start(engine: Engine | EngineProcesses, classifier: Classifier, whole_videos: bool) -> Start:
    """whole_videos: each call must be the frames of one video."""

    def start(frames: np.ndarray) -> Callable[[], Output]:
        n, t, *image = frames.shape
        # Else calls whose sizes differ by one at most.
        calls = n if whole_videos else -(-n * t // FRAMES_PER_CALL)
        wait = engine.start(np.array_split(frames.reshape(n * t, *image), calls))

        def answer() -> Output:
            features = np.concatenate(wait()).reshape(n, t, -1)  # [N * T, F] -> [N, T, F]
            return Output(classifier(features.mean(axis=1)), features)

        return answer

    return start


def eager_start(model: paddle.nn.Layer, autocast: Callable[[], AbstractContextManager] = nullcontext) -> Start:
    """What the model itself computes; it must be in evaluation mode. autocast: of the precision it computes in."""

    def start(frames: np.ndarray) -> Callable[[], Output]:
        with paddle.no_grad(), autocast():
            features = model.features(paddle.to_tensor(frames))
            output = model.classify(features.mean(axis=1)), features
        # On a GPU this is what waits.
        return lambda: Output(*(tensor.astype("float32").numpy() for tensor in output))

    return start


def published_weights(config: ModelConfig) -> Path:
    """The original's weights, downloaded. Raises InputError where they are not there, or the model is another one."""
    if get_model_class(config.name).shifts or config.backbone != "resnet":
        raise InputError(
            f"there are weights to download for MODEL.name TSN with MODEL.backbone resnet, not for {config.name} with "
            f"{config.backbone}: give them by --weights=PATH"
        )
    return published_tsn()


def load_model(config: ModelConfig, path: Path) -> paddle.nn.Layer:
    """The configured model with the weights of a file or folder, in evaluation mode."""
    with paddle.LazyGuard():  # without the random weights that would be overwritten: nine tenths of its time
        model = build_model(config)
    load_weights(model, path)
    model.eval()
    return model


def weights_digest(path: Path) -> str:
    """The SHA-256 of a file or folder of weights. Raises InputError when it cannot be read."""
    try:
        return digest(path)
    except OSError as error:
        raise InputError(f"{origin(path)}: cannot be read: {error.strerror or error}") from error


def describe_weights(path: Path, sha256: str) -> str:
    """The path with the beginning of its digest, which tells two weights of one name apart."""
    return f"{origin(path)} (sha256 {sha256[:12]})"

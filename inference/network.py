"""A network ready to answer: uint8 frames in, logits and features out, with any engine."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inference.finding import FoundNetwork, describe_weights, find_network, finding_network
from inference.views import Output, Start, in_pieces, over_views
from utils.config.keys import EngineConfig, section_name
from utils.config.loading import Config
from utils.config.shared_keys import ModelConfig
from utils.log import say
from utils.processes.device import memory_errors, use_device
from utils.processes.precision import describe_gpu_precision

if TYPE_CHECKING:  # slow to import, so imported where it is used
    import paddle


@dataclass(frozen=True)
class Network:
    """A callable: uint8 frames [N, V * T, H, W, 3 * seglen] -> float32 logits [N, K]."""

    start: Start
    ahead: int  # batches to start before waiting for the first one; 0: `start` itself computes
    description: str  # engine, precision, weights: what a reported number depends on
    precision: str = ""  # only engine and precision
    weights: str = ""  # the SHA-256 of the weights
    num_features: int = 0  # F
    views: Start | None = None  # `start` for single views, before a video's views are averaged
    frames_apart: bool = False  # whether a view's logits are the mean of its segments' logits, each computed alone
    device: str = "cpu"
    thresholds: list[float] | None = None  # with many labels: the threshold from which each class is named
    model: "Callable[[], paddle.nn.Layer] | None" = None  # the network itself, eager and in evaluation mode

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        return self.start(frames)().logits


def load_network(
    config: Config,
    section: EngineConfig,
    device: str,
    num_videos: int,
    num_ranks: int = 1,
    finding: Future[FoundNetwork] | None = None,
) -> Network:
    """Return the network for a section's clips, with its weights, which may be a folder of export.py.

    num_videos: the expected number. num_ranks: processes that share the processor. finding: the future of a network for
    the CPU, if the search has already begun.

    Raises InputError if the weights are missing or do not fit, or the precision is not available.
    """
    network = None
    if device == "cpu":
        finding = finding or finding_network(config, section)
        from inference.runtime import get_core

        get_core()  # while the thread finds the network
        found = finding.result()
        network = _traced(found, section, num_videos, num_ranks)
    else:
        found = find_network(config, section, device)
    if network is None:
        if section.precision == "int8" or (device == "cpu" and section.precision == "bfloat16"):
            engine = f"precision {section.precision} is for the CPU's engine"
            say(f"{engine}: {found.model.name} is computed in float32 on the {device}")
        network = _eager(found, section, device)
    return replace(
        network,
        start=over_views(network.start, section),
        description=f"{network.precision}, weights {describe_weights(found.path, found.sha256)}",
        weights=found.sha256,
        views=network.start,
        device=device,
        thresholds=found.thresholds,
    )


def _traced(found: FoundNetwork, section: EngineConfig, num_videos: int, num_ranks: int) -> Network | None:
    """Return the network as OpenVINO computes it; None if it cannot be traced."""
    from inference.graph import engine_start, open_graph, streams_and_threads

    # A stream computes a call alone: a single video is ready sooner if all cores share its call.
    streams, threads = streams_and_threads(num_ranks)
    how = (found.precision, lambda _: found.path, 1 if num_videos == 1 else streams, threads, found.calibration)
    opened = open_graph(found.key, found.kept, found.model, section.image_size, *how)
    if opened is None:
        return None
    engine, head, agreement = opened
    precision = f"{found.precision} on cpu (OpenVINO)"
    if found.calibration:
        precision += f", {found.calibration.checked(agreement)}"
    return Network(
        engine_start(engine, head),
        engine.ahead,
        "",
        precision,
        num_features=head.num_features,
        frames_apart=not head.shifts,
        model=lambda: _eager_model(found.model, found.path, "cpu"),
    )


def _eager(found: FoundNetwork, section: EngineConfig, device: str) -> Network:
    """Return the network as Paddle computes it: on a GPU in the precision found for it, else in float32."""
    from inference.eager import eager_start

    model = _eager_model(found.model, found.path, device)
    precision, autocast = "float32", nullcontext
    if device == "gpu":
        precision = describe_gpu_precision(found.precision)
        if found.precision != "float32":
            import paddle

            autocast = partial(paddle.amp.auto_cast, level="O1", dtype=found.precision)
    start = in_pieces(eager_start(model, autocast, device), device)
    return Network(
        _within_memory(start, device, f"set {section_name(section)}.batch_size smaller"),
        1,
        "",
        f"{precision} on {device} (eager)",
        num_features=model.backbone.num_features,
        frames_apart=hasattr(model, "frame_features") and not model.shifts,
        model=lambda: model,
    )


def _within_memory(start: Start, device: str, remedy: str) -> Start:
    """Return the same as `start`, but with an error of one line if memory runs out, at once or while waiting."""

    def start_within(frames: np.ndarray) -> Callable[[], Output]:
        with memory_errors(device, remedy):
            wait = start(frames)

        def wait_within() -> Output:
            with memory_errors(device, remedy):
                return wait()

        return wait_within

    return start_within


def _eager_model(config: ModelConfig, path: Path, device: str) -> "paddle.nn.Layer":
    use_device(device)

    from models.weights.fitting import load_model

    return load_model(config, path)

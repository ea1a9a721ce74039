"""Find the parts of a network: its weights, their digest, its kept graph. That means reading and hashing 200 MB."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from inference.cache import Files, read_kept
from inference.key import graph_key
from metrics.many import THRESHOLD
from models.registry import backbone_of, plain_name, section_model
from models.weights.exported import check_exported, exported_weights, is_exported
from models.weights.paths import find_weights, is_here
from models.weights.remote import origin
from reader.class_names import read_labels
from utils.config.beside import Beside, read_beside
from utils.config.keys import EngineConfig
from utils.config.loading import Config
from utils.config.shared_keys import ModelConfig
from utils.config.strict_yaml import one_line
from utils.errors import InputError, os_errors, quoted
from utils.log import say
from utils.processes.device import has_gpu_build
from utils.processes.precision import choose_gpu_precision, choose_precision
from utils.storage.shelf import digest

if TYPE_CHECKING:
    from inference.int8 import Calibration


@dataclass(frozen=True)
class FoundNetwork:
    """The parts of a section's network that were found."""

    model: ModelConfig
    path: Path  # of the weights
    sha256: str  # of the weights
    precision: str = "float32"
    calibration: "Calibration | None" = None  # for int8
    key: str = ""  # of the graph, for the CPU only
    kept: Files | None = None
    thresholds: list[float] | None = None  # with many labels: one for each class


def find_network(config: Config, section: EngineConfig, device: str) -> FoundNetwork:
    """Return the parts of the network for a section's clips.

    Raises InputError if the weights are missing or cannot be read, or the precision is not available.
    """
    model = section_model(config.model, section)
    path = find_weights(section.weights or original_weights(model))
    folder = path if is_exported(path) else None
    if folder:
        path = exported_weights(folder, config, section)
    sha256 = weights_digest(path)
    if folder:
        check_exported(folder, sha256)
    thresholds = check_manifest(config, model, path, sha256)
    if device == "gpu":
        return FoundNetwork(model, path, sha256, choose_gpu_precision(section.precision), thresholds=thresholds)
    precision, calibration = choose_precision(section.precision), None
    if precision == "int8":
        from inference.int8 import Calibration

        calibration = Calibration(config, section)
    key = graph_key(model, section.image_size, sha256, precision, calibration and calibration.digest())
    return FoundNetwork(model, path, sha256, precision, calibration, key, read_kept(key), thresholds)


def check_manifest(config: Config, model: ModelConfig, path: Path, sha256: str) -> list[float] | None:
    """Return the threshold from which each class is named, with many labels; None with single labels.

    model: see `section_model`. sha256: of the weights. A line reports a manifest that is damaged or belongs to other
    weights.

    Raises InputError if the manifest beside the weights contradicts the network, or the order of the class names.
    """
    beside = _manifest_of(path, sha256)
    if beside is not None:
        _compare(config, model, path, beside)
    if model.labels == "single":
        return None
    if beside is None or beside.thresholds is None:
        say(f"{origin(path)}: no thresholds from a validation beside it: a class is named from {THRESHOLD} up")
        return [THRESHOLD] * model.num_classes
    return beside.thresholds


def _manifest_of(path: Path, sha256: str) -> Beside | None:
    try:
        beside = read_beside(path)
    except InputError as error:
        say(f"{error}: only the configuration tells which network the weights belong to")
        return None
    if beside and beside.sha256 and beside.sha256 != sha256:
        say(f"{beside.path} is not of {path.name}: only the configuration tells which network the weights belong to")
        return None
    return beside


def _compare(config: Config, model: ModelConfig, path: Path, beside: Beside) -> None:
    theirs = replace(model, **beside.network)
    # For a network with a fixed backbone the keys of ResNets mean nothing.
    passed = {"backbone", "num_layers"} if backbone_of(theirs) == backbone_of(model) else set()
    differing = [
        f"MODEL.{key} {one_line(str(value))} (the configuration has {getattr(model, key)})"
        for key, value in beside.network.items()
        if key not in passed and plain_name(value) != plain_name(getattr(model, key))
    ]
    if differing:
        raise InputError(f"{origin(path)}: {beside.path.name} beside it says {', '.join(differing)}")
    labels = config.infer.kinetics_labels
    if not beside.classes or not labels or not os.path.exists(labels):
        return
    names = read_labels(labels, model.num_classes)
    at = next((k for k, (ours, known) in enumerate(zip(names, beside.classes)) if ours != known), None)
    if at is None:
        return
    what = f"class {at} is {quoted(names[at])}, it was trained as {quoted(beside.classes[at])}"
    if sorted(names) == sorted(beside.classes):
        raise InputError(f"{labels}: the names are in another order than in {beside.path}: {what}")
    say(f"{labels}: other names than in {beside.path}: {what}")


def find_early(config: Config, section: EngineConfig) -> Future[FoundNetwork] | None:
    """Start to find the network during a script's imports, and return the future; None if it may not be needed."""
    local = section.weights and is_here(section.weights)
    return finding_network(config, section) if local and not (section.use_gpu and has_gpu_build()) else None


def finding_network(config: Config, section: EngineConfig) -> Future[FoundNetwork]:
    """Start to find the network for the CPU in a thread, and return the future, whose result() raises any error."""
    thread = ThreadPoolExecutor(1, "finding")
    try:
        return thread.submit(find_network, config, section, "cpu")
    finally:
        thread.shutdown(wait=False)


def original_weights(config: ModelConfig) -> Path:
    """Return the path of the original's weights. Raise InputError if they cannot be had, or are another model's."""
    if config.name != "TSN" or config.backbone != "resnet":
        raise InputError(
            f"there are weights to download for MODEL.name TSN with MODEL.backbone resnet, not for {config.name} with "
            f"{backbone_of(config)}: give them by --weights=PATH"
        )
    from models.weights.download import published_tsn

    return published_tsn()


def weights_digest(path: Path) -> str:
    """Return the SHA-256 of a file or folder of weights. Raise InputError if it cannot be read."""
    with os_errors(InputError, f"{origin(path)}: cannot be read"):
        return digest(path)


def describe_weights(path: Path, sha256: str) -> str:
    """Return the path with the first digits of its digest, which distinguish weights of the same name."""
    return f"{origin(path)} (sha256 {sha256[:12]})"

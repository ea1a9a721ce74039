"""Read the manifest of train.py beside weights, NAME.json beside NAME.pdparams: the facts about their network.

The file may come from anybody: each value is checked like one of a configuration, and no path in it is used.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.config.keys import SECTIONS
from utils.config.kinds import Kind, Number, Text
from utils.config.shared_keys import ModelConfig, kinds_of
from utils.config.strict_yaml import MAX_BYTES as MAX_YAML
from utils.config.strict_yaml import Item, one_line, parse
from utils.errors import InputError, os_errors

MAX_BYTES = 1_000_000
# Keys needed to open the weights; the last three come from TRAIN of the training run.
_OF_MODEL = ("name", "backbone", "num_layers", "num_classes", "labels")
_OF_TRAIN = ("seglen", "image_mean", "image_std")


@dataclass(frozen=True)
class Beside:
    """The contents of the manifest."""

    path: Path
    network: Mapping[str, object]  # keys of MODEL; keys that the writing version did not know are missing
    classes: list[str] | None  # the class names
    config: str  # the YAML it was trained with
    sha256: str  # of the weights; "": not recorded
    thresholds: list[float] | None = None  # with many labels: each class's threshold


def path_beside(weights: object) -> Path | None:
    """Return the manifest's path for weights, given with or without suffix; None if there is none."""
    stem = re.sub(r"\.pdparams$", "", str(weights))
    path = Path(f"{stem}.json")
    return path if stem and Path(f"{stem}.pdparams").is_file() and path.is_file() else None


def read_json(path: Path) -> Any:
    """Return the contents of a small JSON file. Raises OSError; ValueError or RecursionError if it is damaged."""
    with open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    return json.loads(data)


def thresholds_of(manifest: Mapping) -> list[float] | None:
    """Return the thresholds of the classes; None if there are none. Raises ValueError if one is not from 0 to 1."""
    thresholds = manifest.get("thresholds")
    if thresholds is not None and not isinstance(thresholds, list):
        raise ValueError("thresholds: expected a list")
    return thresholds and [_checked("thresholds", Number(0, 1), one) for one in thresholds]


def read_beside(weights: object) -> Beside | None:
    """Return the manifest; None if there is none, or if it is another JSON file.

    Raises InputError if it is damaged.
    """
    path = path_beside(weights)
    if path is None:
        return None
    try:
        with os_errors(InputError, f"{path}: cannot be read"):
            manifest = read_json(path)
        if not isinstance(manifest, dict) or not {"format", "model", "train"} <= manifest.keys():
            return None
        given = {key: manifest["model"][key] for key in _OF_MODEL if key in manifest["model"]}
        given.setdefault("labels", "single")  # older versions had no other kind
        given |= {key: manifest["train"][key] for key in _OF_TRAIN if key in manifest["train"]}
        network = {key: _checked(key, kinds_of(ModelConfig)[key], value) for key, value in given.items()}
        classes, files = manifest.get("classes"), manifest.get("files", {})
        if classes is not None and (
            not isinstance(classes, list)
            or not all(isinstance(name, str) for name in classes)
            or len(classes) != network.get("num_classes", len(classes))
        ):
            raise ValueError("classes are not as many names as num_classes")
        thresholds = thresholds_of(manifest)
        if thresholds is not None and len(thresholds) != network.get("num_classes", len(thresholds)):
            raise ValueError("thresholds are not as many numbers as num_classes")
        sha256 = next((str(digest) for name, digest in files.items() if name.endswith(".pdparams")), "")
        return Beside(path, network, classes, str(manifest.get("config", ""))[:MAX_YAML], sha256, thresholds)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not a manifest of weights ({one_line(str(error), 200)})") from None


def add_manifest(
    given: dict[str, Item], section: str, weights_key: str | None, read_tree: Callable[[Mapping], dict] | None
) -> None:
    """Add the settings of the manifest beside the section's weights to `given`, where nothing else sets them.

    These are the class names and, if `read_tree` (which checks a file's sections) is given, all keys of the network and
    of reading its videos, but no paths. A damaged manifest is reported when the weights are opened. Raises InputError
    if only the manifest's configuration is damaged.
    """
    if section == "TRAIN" or weights_key not in given:
        return
    try:
        found = read_beside(given[weights_key].value)
    except InputError:
        return
    if found and read_tree:
        tree = parse(found.config, lambda line: f"{found.path}: line {line} of its configuration").value
        for name, item in read_tree(tree if isinstance(tree, dict) else {}).items():
            home, _, key = name.partition(".")
            if home == "MODEL" or (home == section and not isinstance(kinds_of(SECTIONS[home]).get(key), Text)):
                given.setdefault(name, item)
        for key, value in found.network.items():
            given.setdefault(f"MODEL.{key}", Item(value, one_line(str(value)), str(found.path)))
    if found and found.classes:
        given.setdefault("INFER.kinetics_labels", Item(str(found.path), str(found.path), str(found.path)))


def _checked(key: str, kind: Kind, value: object) -> object:
    """Return the value in the form that the configuration holds."""
    try:
        return kind.read(value)
    except ValueError:
        raise ValueError(f"{key}: expected {kind}, not {one_line(repr(value))}") from None

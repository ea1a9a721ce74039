"""The folder of export.py --format=paddle: a graph for any program that has paddle, and the weights for predict.py.

model.json, model.pdiparams  uint8 frames of one crop in, probabilities out, for paddle.inference.Config and
                             paddle.jit.load; with several crops the caller takes the mean, as INFER.average says
weights.pdparams             the same weights by name. predict.py and eval.py give them to their own engine: the
                             numbers are the same, it is faster, and no foreign program runs
config.yaml                  the configuration of the export: INFER says how frames are chosen, resized and cropped;
                             comments give the SHA-256 of the other files
weights.json                 only with many labels: the threshold from which each class is named
"""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from models.registry import known_name
from models.weights.remote import origin
from utils.config.loading import Config, load_config
from utils.config.shared_keys import SectionConfig
from utils.errors import InputError
from utils.storage.files import write_text
from utils.storage.shelf import digest

STEM = "model"
WEIGHTS, CONFIG = "weights.pdparams", "config.yaml"
THRESHOLDS = "weights.json"
# Keys that must be the same in the exported folder and in the configuration, and in the section that reads videos.
MODEL_KEYS = ("name", "backbone", "num_classes", "labels")
SHAPE_KEYS = ("seg_num", "seglen", "image_mean", "image_std")


def is_exported(path: Path) -> bool:
    """Return whether the path is a folder that export.py wrote."""
    return (path / f"{STEM}.pdiparams").is_file()


def exported_weights(folder: Path, config: Config, section: SectionConfig) -> Path:
    """Return the path of the folder's weights by name.

    Raises:
        InputError: the folder is incomplete, or was exported for other clips or classes than the configuration's.
    """
    exported = load_config(folder / CONFIG, section="INFER")
    size_key = "short_size" if section.crops == 3 else "target_size"  # the key that sets the side of our crops
    theirs, ours = _facts(exported, exported.infer, size_key), _facts(config, section, size_key)
    differing = [
        f"{key} {theirs[key]} (the configuration has {ours[key]})"
        for key in ours
        if str(ours[key]).lower() != str(theirs[key]).lower()
    ]
    if differing:
        raise InputError(f"{origin(folder)}: exported with {', '.join(differing)}")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{origin(folder)}: {WEIGHTS} is missing")
    return folder / WEIGHTS


def write_thresholds(folder: Path, config: Config, thresholds: Sequence[float]) -> None:
    """Write THRESHOLDS, a manifest like train.py's, beside the exported files. Raise RunError."""
    model = {key: getattr(config.model, key) for key in ("name", "backbone", "num_layers", "num_classes", "labels")}
    train = {key: getattr(config.infer, key) for key in SHAPE_KEYS[1:]}
    weights = folder / WEIGHTS
    files = {WEIGHTS: digest(weights)} if weights.exists() else {}
    manifest = {"format": 1, "model": model, "train": train, "thresholds": list(thresholds), "files": files}
    write_text(folder / THRESHOLDS, json.dumps(manifest, indent=1) + "\n")


def describe_files(files: Iterable[Path]) -> str:
    """Return the comment for config.yaml that lists the files with their SHA-256."""
    lines = [f"# {digest(file)}  {file.name}\n" for file in sorted(files)]
    return "".join(["# The files that this one was exported with, by their SHA-256:\n", *lines])


def check_exported(folder: Path, sha256: str) -> None:
    """Raise InputError if the weights and the folder's config.yaml are not from the same export.

    sha256: of the weights. They differ if an export was killed while it replaced another one's files, or if only half
    of a folder was copied. Folders written by older versions contain no digests and pass.
    """
    text = (folder / CONFIG).read_text(encoding="utf-8")
    named = re.search(rf"^# ([0-9a-f]{{64}})  {re.escape(WEIGHTS)}$", text, re.MULTILINE)
    if named and named[1] != sha256:
        raise InputError(f"{origin(folder)}: {WEIGHTS} and {CONFIG} are not of one export: export again")


def _facts(config: Config, section: SectionConfig, size_key: str) -> dict[str, object]:
    model = {key: getattr(config.model, key) for key in MODEL_KEYS} | {"name": known_name(config.model.name)}
    return model | {size_key: section.image_size} | {key: getattr(section, key) for key in SHAPE_KEYS}

"""The folder of export.py --format=paddle: a graph for any program that has paddle, and the weights for predict.py.

model.json, model.pdiparams  uint8 frames of one crop in, probabilities out, for paddle.inference.Config and
                             paddle.jit.load; of several crops its caller takes the mean, as INFER.average says
weights.pdparams             the same weights by name. predict.py and eval.py give them to their own engine: the
                             same numbers at its speed, and no program that came from elsewhere is run
config.yaml                  what it was exported with: INFER says how its frames are chosen, resized and cropped; and
                             in comments the SHA-256 of the other files
weights.json                 of many labels: from which probability on each class is named
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
# What must be the same in the exported folder and in the configuration, and in the section that reads videos for it.
MODEL_KEYS = ("name", "backbone", "num_classes", "labels")
SHAPE_KEYS = ("seg_num", "seglen", "image_mean", "image_std")


def is_exported(path: Path) -> bool:
    """Return whether the path is a folder that export.py wrote."""
    return (path / f"{STEM}.pdiparams").is_file()


def exported_weights(folder: Path, config: Config, section: SectionConfig) -> Path:
    """Return the folder's weights by name.

    Raises:
        InputError: the folder is incomplete, or was exported for other clips or classes than the configuration's.
    """
    exported = load_config(folder / CONFIG, section="INFER")
    size_key = "short_size" if section.crops == 3 else "target_size"  # what the side of our crops comes from
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
    """Write THRESHOLDS, a manifest as train.py writes one, beside what was exported. Raise RunError."""
    model = {key: getattr(config.model, key) for key in ("name", "backbone", "num_layers", "num_classes", "labels")}
    train = {key: getattr(config.infer, key) for key in SHAPE_KEYS[1:]}
    weights = folder / WEIGHTS
    files = {WEIGHTS: digest(weights)} if weights.exists() else {}
    manifest = {"format": 1, "model": model, "train": train, "thresholds": list(thresholds), "files": files}
    write_text(folder / THRESHOLDS, json.dumps(manifest, indent=1) + "\n")


def describe_files(files: Iterable[Path]) -> str:
    """Return the lines of comment for config.yaml that name the files by their SHA-256."""
    lines = [f"# {digest(file)}  {file.name}\n" for file in sorted(files)]
    return "".join(["# The files that this one was exported with, by their SHA-256:\n", *lines])


def check_exported(folder: Path, sha256: str) -> None:
    """Raise InputError where the weights are not those that the folder's config.yaml was exported with.

    sha256: of the weights. As where an export was killed while it replaced the files of another one, or half a folder
    was copied. Folders that older versions wrote name no digests.
    """
    text = (folder / CONFIG).read_text(encoding="utf-8")
    named = re.search(rf"^# ([0-9a-f]{{64}})  {re.escape(WEIGHTS)}$", text, re.MULTILINE)
    if named and named[1] != sha256:
        raise InputError(f"{origin(folder)}: {WEIGHTS} and {CONFIG} are not of one export: export again")


def _facts(config: Config, section: SectionConfig, size_key: str) -> dict[str, object]:
    model = {key: getattr(config.model, key) for key in MODEL_KEYS} | {"name": known_name(config.model.name)}
    return model | {size_key: section.image_size} | {key: getattr(section, key) for key in SHAPE_KEYS}

"""Read and write NAME.json, the manifest of checkpoint NAME: its progress, its model, its data and its files.

The newest checkpoint of a folder has the highest number: numbers count the checkpoints written there.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from utils.config.beside import read_json, thresholds_of
from utils.config.strict_yaml import one_line
from utils.errors import InputError
from utils.storage.files import write_text

MANIFEST_FORMAT = 1
SUFFIXES = (".pdparams", ".pdopt")
# The data that runs are compared by, as messages and manifests name it.
VALID_LIST, CLASSES = "the digest of the validation list", "the digest of the class names"


@dataclass(frozen=True)
class Progress:
    """The state of training, and the settings that a resumed run must share."""

    epoch: int  # the current epoch, from 0
    step: int  # the epoch's next step; after the last step, only validation is left
    seed: int
    videos: int  # of the training list
    batch_size: int
    best_top1: float = -1.0  # percent; with many labels mAP; -1: no validation yet
    best_epoch: int = -1
    loss_scale: float = 0.0  # for float16 training; 0: none
    not_better: int = 0  # validations since the best one
    # With many labels: each class's threshold, as chosen by the last validation.
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a manifest: the path without suffix, the progress, and the model."""

    prefix: Path
    progress: Progress
    model: dict[str, Any]
    train: dict[str, Any]
    data: dict[str, str]  # SHA-256 of the training data, by name; empty in old manifests
    digests: dict[str, str]  # SHA-256 by suffix
    number: int  # higher than the numbers of all checkpoints in the folder at that time; 0 in old manifests
    saved_at: float  # seconds since 1970
    engine: str = ""  # the value of TRAIN.engine that was used; "": on a GPU, or not recorded by older versions

    @property
    def order(self) -> tuple[int, float]:
        """Return a key that grows from one checkpoint of a folder to the next, even if the clock is set back."""
        return self.number, self.saved_at


def write_manifest(prefix: Path, progress: Progress, about: Mapping[str, Any], digests: dict[str, str]) -> Checkpoint:
    """Write the manifest of the folder's newest checkpoint, and return it. digests: by suffix. Raises RunError."""
    number, saved_at = _highest_number(prefix.parent) + 1, time.time()
    files = {prefix.name + suffix: digest for suffix, digest in digests.items()}
    when = {"number": number, "saved_at": saved_at}
    facts = asdict(progress)
    chosen = {"thresholds": thresholds} if (thresholds := facts.pop("thresholds")) else {}
    manifest = {"format": MANIFEST_FORMAT, **when, "progress": facts, **chosen, **about, "files": files}
    write_text(with_suffix(prefix, ".json"), json.dumps(manifest, indent=1) + "\n")
    data, engine = about.get("data", {}), about.get("engine", "")
    return Checkpoint(prefix, progress, about["model"], about["train"], data, digests, number, saved_at, engine)


def _highest_number(folder: Path) -> int:
    """Return the highest number of the folder's checkpoints, including torn ones; 0 if there are none."""
    highest = 0
    for path in folder.glob("*.json"):
        try:
            highest = max(highest, read_manifest(prefix_of(str(path))).number)
        except InputError:
            continue  # not from a checkpoint
    return highest


def read_manifest(prefix: Path) -> Checkpoint:
    """Return the contents of NAME.json; its files may be torn. Raises InputError if it is missing or not ours."""
    path = with_suffix(prefix, ".json")
    try:
        manifest = read_json(path)
        progress = Progress(**manifest["progress"], thresholds=tuple(thresholds_of(manifest) or ()))
        for field in fields(Progress)[:-1]:
            value = getattr(progress, field.name)
            if type(value) is not int and not (field.type is float and type(value) is float):
                raise ValueError(f"{field.name} is {value!r}")
            if not abs(value) < 1e18:  # also false for NaN
                raise ValueError(f"{field.name} is out of range")
        if manifest["format"] != MANIFEST_FORMAT or min(progress.epoch, progress.step, progress.seed) < 0:
            raise ValueError("unknown format")
        model, train, files = dict(manifest["model"]), dict(manifest["train"]), dict(manifest["files"])
        digests = {suffix: files[prefix.name + suffix] for suffix in SUFFIXES}
        data, number, saved_at = dict(manifest.get("data", {})), manifest.get("number", 0), float(manifest["saved_at"])
        if not abs(saved_at) < 1e18:
            raise ValueError("saved_at is out of range")
        if type(number) is not int or not 0 <= number < 1e18:
            raise ValueError(f"number is {number!r}")
        if not all(isinstance(digest, str) for digest in data.values()):
            raise ValueError("data holds what is no digest")
        engine = manifest.get("engine", "")
        if engine not in ("", "eager", "onednn"):
            raise ValueError(f"engine is {engine!r}")
        return Checkpoint(prefix, progress, model, train, data, digests, number, saved_at, engine)
    except FileNotFoundError:
        raise InputError(f"{prefix}: torn checkpoint: {path.name} is missing") from None
    except OSError as error:
        raise InputError(f"{path}: the checkpoint's manifest cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = one_line(f"{type(error).__name__}: {error}", 200)
        raise InputError(f"{path}: not a manifest of this checkpoint ({reason})") from None


def with_suffix(prefix: Path, suffix: str) -> Path:
    """Return the path of one of a checkpoint's files."""
    # Path.with_suffix would cut a prefix that contains dots.
    return prefix.with_name(prefix.name + suffix)


def prefix_of(path: str) -> Path:
    """Return the prefix of the checkpoint that a path names, with or without suffix."""
    for suffix in (*SUFFIXES, ".json"):
        if path.endswith(suffix):
            return Path(path.removesuffix(suffix))
    return Path(path)

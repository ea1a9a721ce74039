"""What NAME.json says of a checkpoint NAME: where training stood, what it was training and on what, and its files.

Of several checkpoints in a folder the newest is the one with the highest number: numbers count what was written there.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from utils.config.strict_yaml import one_line
from utils.errors import InputError
from utils.storage.files import write_text

MANIFEST_FORMAT = 1
MAX_MANIFEST_BYTES = 1_000_000
SUFFIXES = (".pdparams", ".pdopt")
# What a run is compared by, as messages and manifests call it.
VALID_LIST, CLASSES = "the digest of the validation list", "the digest of the class names"


@dataclass(frozen=True)
class Progress:
    """Where training stands, and what it must agree with when it goes on."""

    epoch: int  # the epoch in hand, from 0
    step: int  # its next step; the number of steps of an epoch = only its validation is left
    seed: int
    videos: int  # of the training list
    batch_size: int
    best_top1: float = -1.0  # percent, of many labels mAP; -1: no validation yet
    best_epoch: int = -1
    loss_scale: float = 0.0  # of float16 training; 0: none
    not_better: int = 0  # validations since the best one
    # Of many labels, of each class: from which probability on it is named, as the last validation chose it.
    thresholds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """What a manifest says: the path without suffix, where training stood, the model it belongs to."""

    prefix: Path
    progress: Progress
    model: dict[str, Any]
    train: dict[str, Any]
    data: dict[str, str]  # SHA-256 of what was trained on, by name; empty of an old one
    digests: dict[str, str]  # SHA-256 by suffix
    number: int  # higher than that of any checkpoint that its folder held when it was written; 0 of an old one
    saved_at: float  # seconds since 1970
    engine: str = ""  # of TRAIN.engine, that computed it; "": on a GPU, or by a version that did not record it

    @property
    def order(self) -> tuple[int, float]:
        """Rises from one checkpoint of a folder to the next; a clock may be set back, numbers are not."""
        return self.number, self.saved_at


def write_manifest(prefix: Path, progress: Progress, about: Mapping[str, Any], digests: dict[str, str]) -> Checkpoint:
    """Return the checkpoint, the newest of its folder; digests: of its files by suffix. Raises RunError."""
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
    """Return that of the folder's checkpoints, torn ones too; 0 where there is none."""
    highest = 0
    for path in folder.glob("*.json"):
        try:
            highest = max(highest, read_manifest(prefix_of(str(path))).number)
        except InputError:
            continue  # not a checkpoint's
    return highest


def read_manifest(prefix: Path) -> Checkpoint:
    """Return what NAME.json says; its files may be torn. Raises InputError when it is missing or not ours."""
    path = with_suffix(prefix, ".json")
    try:
        with open(path, "rb") as file:
            manifest = json.loads(file.read(MAX_MANIFEST_BYTES))
        progress = Progress(**manifest["progress"], thresholds=tuple(manifest.get("thresholds", ())))
        if not all(type(one) in (int, float) and 0 <= one <= 1 for one in progress.thresholds):
            raise ValueError("thresholds are not shares")
        for field in fields(Progress)[:-1]:
            value = getattr(progress, field.name)
            if type(value) is not int and not (field.type is float and type(value) is float):
                raise ValueError(f"{field.name} is {value!r}")
            if not abs(value) < 1e18:  # NaN, too
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
    # Not with_suffix: a prefix may hold dots of its own.
    return prefix.with_name(prefix.name + suffix)


def prefix_of(path: str) -> Path:
    """Return the checkpoint that a file of it, or its path without suffix, names."""
    for suffix in (*SUFFIXES, ".json"):
        if path.endswith(suffix):
            return Path(path.removesuffix(suffix))
    return Path(path)

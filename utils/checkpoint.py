"""Checkpoints: weights, optimizer and a manifest, each whole or absent; a resumed run continues at the next step.

A checkpoint NAME is NAME.pdparams (the weights, paddle.save), NAME.pdopt (the momentum of each parameter) and
NAME.json: where training stood, what it was training, and the SHA-256 of the two files. The manifest is written last,
so a checkpoint whose manifest agrees with its files is whole.
"""

import hashlib
import json
import os
import pickle
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from utils.errors import InputError
from utils.files import write_atomic, write_text
from utils.safe_pickle import PickleError, read_pickle

MANIFEST_FORMAT = 1
MAX_MANIFEST_BYTES = 1_000_000


@dataclass(frozen=True)
class Progress:
    """Where training stands, and what it must agree with when it goes on."""

    epoch: int  # the epoch in hand, from 0
    step: int  # its next step; the number of steps of an epoch = only its validation is left
    seed: int
    videos: int  # of the training list
    batch_size: int
    best_top1: float = -1.0  # percent; -1: no validation yet
    best_epoch: int = -1


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint on disk: its path without suffix, where it stands, and the model it belongs to."""

    prefix: Path
    progress: Progress
    model: dict[str, Any]
    train: dict[str, Any]
    saved_at: float  # seconds since 1970


def save_checkpoint(prefix: Path, model: Any, optimizer: Any, progress: Progress, about: Mapping[str, Any]) -> None:
    """Writes NAME.pdparams, NAME.pdopt, then NAME.json; `about` holds {"model": ..., "train": ..., "versions": ...}.

    Raises:
        RunError: the disk is full or the folder is gone; an older checkpoint of another name is untouched.
    """
    import paddle

    state = model.state_dict()
    momentum = {}
    known = optimizer.state_dict()
    for name, parameter in model.named_parameters():
        if (value := known.get(f"{parameter.name}_velocity_0")) is not None:
            momentum[name] = value.numpy()
    write_atomic(_with(prefix, ".pdparams"), lambda path: paddle.save(state, str(path)))
    write_atomic(_with(prefix, ".pdopt"), lambda path: path.write_bytes(pickle.dumps(momentum, protocol=4)))
    write_manifest(prefix, progress, about)


def write_manifest(prefix: Path, progress: Progress, about: Mapping[str, Any]) -> None:
    """(Re)writes NAME.json for the two files that lie beside it."""
    files = {path.name: _digest(path) for path in (_with(prefix, ".pdparams"), _with(prefix, ".pdopt"))}
    manifest = {"format": MANIFEST_FORMAT, "saved_at": time.time(), "progress": asdict(progress), **about, "files": files}
    write_text(_with(prefix, ".json"), json.dumps(manifest, indent=1) + "\n")


def copy_checkpoint(source: Path, target: Path, progress: Progress, about: Mapping[str, Any]) -> None:
    """Makes `target` the same checkpoint as `source`, without new disk space where the file system has hard links."""
    for suffix in (".pdparams", ".pdopt"):
        write_atomic(_with(target, suffix), lambda path: _link_or_copy(_with(source, suffix), path))
    write_manifest(target, progress, about)


def remove_older(folder: Path, name: str, newest: Path, keep: int) -> None:
    """Deletes what `newest` makes needless: checkpoints within an epoch, and all but the `keep` last epochs (0: all stay)."""
    epochs = {}
    for path in folder.glob(f"{name}_epoch*.pdparams"):
        match = re.fullmatch(rf"{re.escape(name)}_epoch(\d+)(_step\d+)?", path.stem)
        if match and path.stem != newest.name:
            if match[2]:
                _remove(path.with_suffix(""))
            else:
                epochs[int(match[1])] = path.with_suffix("")
    # `newest` is one of those kept, unless it stands within an epoch.
    others = max(keep - (0 if "_step" in newest.name else 1), 0) if keep else len(epochs)
    for epoch in sorted(epochs)[: len(epochs) - others]:
        _remove(epochs[epoch])


def _remove(prefix: Path) -> None:
    # The manifest first: a half-deleted checkpoint is not taken for whole.
    for suffix in (".json", ".pdopt", ".pdparams"):
        _with(prefix, suffix).unlink(missing_ok=True)


def find_checkpoint(resume: str, save_dir: str) -> tuple[Checkpoint | None, list[str]]:
    """The checkpoint that `--resume` names (None: `auto` found none), and a line on each torn one that was passed over.

    `resume` is `auto` (the newest whole one in save_dir), a folder (the newest whole one in it), a file or a prefix.

    Raises:
        InputError: there is no such checkpoint, or the one named is torn or foreign.
    """
    if resume != "auto" and not Path(resume).is_dir():
        return read_manifest(_prefix_of(resume)), []
    folder = Path(save_dir if resume == "auto" else resume)
    found, torn = [], []
    for manifest in sorted(folder.glob("*.json")):
        prefix = manifest.with_suffix("")
        if _with(prefix, ".pdparams").exists() or _with(prefix, ".pdopt").exists():
            try:
                found.append(read_manifest(prefix))
            except InputError as error:
                torn.append(str(error))
    if not found and resume != "auto":
        raise InputError(f"--resume={resume}: no whole checkpoint in this folder" + "".join(f"; {line}" for line in torn))
    if not found and torn:
        raise InputError(f"--resume=auto: no whole checkpoint in {folder}; {'; '.join(torn)}")
    # By time, not by epoch: the folder may hold a longer run of before.
    newest = max(found, key=lambda c: c.saved_at, default=None)
    return newest, torn


def read_manifest(prefix: Path) -> Checkpoint:
    """The checkpoint at `prefix`, its files compared with their digests.

    Raises:
        InputError: a file is missing or differs from the manifest (torn), or the manifest is not ours (foreign).
    """
    path = _with(prefix, ".json")
    try:
        with open(path, "rb") as file:
            manifest = json.loads(file.read(MAX_MANIFEST_BYTES))
        progress = Progress(**manifest["progress"])
        for field in fields(Progress):
            value = getattr(progress, field.name)
            if type(value) is not int and not (field.type is float and type(value) is float):
                raise ValueError(f"{field.name} is {value!r}")
        if manifest["format"] != MANIFEST_FORMAT or min(progress.epoch, progress.step, progress.seed) < 0:
            raise ValueError("unknown format")
        model, train, digests = dict(manifest["model"]), dict(manifest["train"]), dict(manifest["files"])
        saved_at = float(manifest["saved_at"])
    except OSError as error:
        raise InputError(f"{path}: the checkpoint's manifest cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path}: not a checkpoint manifest of this toolkit ({type(error).__name__}: {error})") from None
    for suffix in (".pdparams", ".pdopt"):
        file = _with(prefix, suffix)
        if not file.is_file():
            raise InputError(f"{prefix}: torn checkpoint: {file.name} is missing")
        if digests.get(file.name) != _digest(file):
            raise InputError(f"{prefix}: torn checkpoint: {file.name} is not the file its manifest describes")
    return Checkpoint(prefix, progress, model, train, saved_at)


def load_optimizer(prefix: Path, model: Any, optimizer: Any) -> None:
    """Gives the optimizer the momentum of NAME.pdopt, by the parameters' names.

    Raises:
        InputError: the file's names or shapes are not the model's.
    """
    import paddle

    path = _with(prefix, ".pdopt")
    try:
        momentum = read_pickle(path.read_bytes())
    except PickleError as error:
        raise InputError(f"{path}: not the momentum of a checkpoint: {error}") from None
    state = {}
    for name, parameter in model.named_parameters():
        value = momentum.pop(name, None)
        if value is None or list(value.shape) != list(parameter.shape):
            raise InputError(f"{path}: no momentum of shape {list(parameter.shape)} for {name}")
        state[f"{parameter.name}_velocity_0"] = paddle.to_tensor(value)
    if momentum:
        raise InputError(f"{path}: momentum of unknown parameters: {', '.join(sorted(map(str, momentum))[:8])}")
    optimizer.set_state_dict(state)


def _with(prefix: Path, suffix: str) -> Path:
    # Not with_suffix: a prefix may hold dots of its own.
    return prefix.with_name(prefix.name + suffix)


def _prefix_of(path: str) -> Path:
    for suffix in (".pdparams", ".pdopt", ".json"):
        if path.endswith(suffix):
            return Path(path.removesuffix(suffix))
    return Path(path)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        target.write_bytes(source.read_bytes())

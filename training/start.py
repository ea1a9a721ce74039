"""Find a run's starting point: a checkpoint, weights to fine-tune, ImageNet weights, or random weights."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from models.registry import backbone_of, plain_name
from models.weights.download import imagenet_resnet50
from models.weights.fitting import load_weights
from models.weights.paths import find_weights
from reader.class_names import read_labels
from reader.filelist import FileList
from training.checkpoint import Checkpoint, find_checkpoint, prefix_of, read_momentum, with_suffix
from training.loop import Steps
from training.manifest import CLASSES, VALID_LIST
from utils.config.beside import read_beside
from utils.config.flags import Flags
from utils.config.loading import Config
from utils.config.shared_keys import ModelConfig
from utils.config.strict_yaml import one_line
from utils.config.train_keys import NOT_LEARNED, TrainConfig
from utils.errors import InputError, quoted
from utils.log import say
from utils.processes.ranks import World
from utils.storage.shelf import digest

LIST = "the digest of the training list"
SHOWN = 5  # most names in a line
MOST_NAMES = 500_000  # most bytes of names in a manifest, because reading it is limited too
# If one of these has changed, the remaining steps of an epoch would be other ones.
CUTS = ("TRAIN.batch_size", "TRAIN.accumulate_steps", "TRAIN.balance_classes", "the number of videos", LIST, CLASSES)
# A checkpoint can only be resumed if the model agrees in these keys.
MODEL_KEYS = ("name", "backbone", "num_layers", "num_classes", "labels", "seglen")
TRAIN_KEYS = tuple(item.name for item in fields(TrainConfig) if item.name not in NOT_LEARNED)


def describe_data(config: Config, entries: FileList, valid_entries: FileList) -> dict[str, str]:
    """Return the SHA-256 of each piece of data that runs are compared by, by its name in messages, if it exists.

    Raises InputError if INFER.kinetics_labels does not name a list with the same number of classes.
    """
    digests = {LIST: entries.digest}
    if valid_entries:
        digests[VALID_LIST] = valid_entries.digest
    # Read before training: predict.py would reject a wrong list only after all the work.
    names = read_labels(config.infer.kinetics_labels, config.model.num_classes)
    digests[CLASSES] = hashlib.sha256(json.dumps(names).encode()).hexdigest()
    return digests


def _names(config: Config) -> list[str] | None:
    """Return the class names, or None if there are none."""
    labels = config.infer.kinetics_labels
    return read_labels(labels, config.model.num_classes) if labels else None


def describe_run(config: Config, data: Mapping[str, str]) -> dict[str, Any]:
    """Return a checkpoint manifest's facts about the run. data: see `describe_data`."""
    names = _names(config)
    return {
        "classes": names if len(json.dumps(names)) < MOST_NAMES else None,
        "model": {key: getattr(config.model, key) for key in (*MODEL_KEYS, "dropout")},
        "train": {key: _setting(config.train, key) for key in (*TRAIN_KEYS, "seglen")},
        "data": dict(data),
        "config": config.dump(),
        "versions": {"python": platform.python_version(), "paddle": paddle.__version__, "numpy": np.__version__},
    }


def _setting(train: TrainConfig | type[TrainConfig], key: str) -> Any:
    """Return a value of TRAIN, or its default, as it reads back from JSON."""
    value = getattr(train, key)
    return json.loads(json.dumps(value))


def check_agreement(world: World, flags: Flags, config: Config, entries: FileList, valid_entries: FileList) -> None:
    """Raise InputError if machines were started with different settings or lists.

    They would wait forever, or each train on its part of another list. Paths may differ between machines.
    """
    about = describe_run(config, {})
    ours = {
        **{f"MODEL.{key}": value for key, value in about["model"].items()},
        **{f"TRAIN.{key}": value for key, value in about["train"].items()},
        "TRAIN.engine": config.train.engine,
        **{f"--{name}": getattr(flags, name) for name in ("log_interval", "valid_interval")},
        "the number of training videos": len(entries),
        "the number of validation videos": len(valid_entries),
        "the digest of the training list's labels": entries.label_digest[:8],
        "the digest of the validation list's labels": valid_entries.label_digest[:8],
    }
    for name, theirs in world.broadcast(ours).items():
        if ours[name] != theirs:
            raise InputError(
                f"rank {world.rank} was started with other settings than rank 0: {name} is {ours[name]}, "
                f"on rank 0 {theirs}"
            )


def announce_lists(config: Config, videos: int, valid_videos: int, steps: Steps, seed: int, world: World) -> None:
    """Print what is trained on and how often, and what is validated on."""
    epochs, number = config.train.epoch, steps.per_epoch
    cut = f"{epochs} epoch{'s' * (epochs > 1)} of {number} step{'s' * (number > 1)}"
    ranks = f", {world.size} processes" if world.size > 1 else ""
    say(f"data: {videos} videos of {config.train.filelist}; {cut}, seed {seed}{ranks}")
    if valid_videos:
        say(f"validation: {valid_videos} videos of {config.valid.filelist}")


@dataclass(frozen=True)
class Start:
    """The starting point. At most one of the first three is set; none: random weights."""

    checkpoint: Checkpoint | None = None  # resume from it
    weights: str | None = None  # of a whole network: fine-tune from epoch 0
    backbone: str | None = None  # the weights except the classifier's
    rows: Mapping[int, int] = field(default_factory=dict)  # but keep classifier rows: our class -> the class there

    def load(self, model: paddle.nn.Layer) -> dict[str, np.ndarray]:
        """Fill the model, say with what, and return the momentum by parameter name, or {}. Raises InputError."""
        if self.checkpoint:
            load_weights(model, with_suffix(self.checkpoint.prefix, ".pdparams"))
            progress = self.checkpoint.progress
            say(f"weights: resumed from {self.checkpoint.prefix}: epoch {progress.epoch}, iter {progress.step}")
            return read_momentum(self.checkpoint.prefix, model)
        if self.weights:
            say(f"--resume={self.weights} holds weights only: fine-tuning starts from them at epoch 0")
            say(f"weights: {load_weights(model, self.weights)}")
        elif self.backbone:
            say(f"weights: {load_weights(model, self.backbone, pretrain=True, rows=self.rows)}")
        else:
            say("weights: random numbers (--pretrain=none)")
        return {}


def find_start(flags: Flags, config: Config, num_videos: int, data: Mapping[str, str]) -> Start:
    """Return the starting point that the flags ask for. data: see `describe_data`.

    Raises InputError if it is missing, torn or contradicts the configuration.
    """
    if flags.resume:
        if weights := _weights_alone(flags.resume):
            return Start(weights=weights)
        checkpoint, torn = find_checkpoint(flags.resume, config.train.save_dir)
        for line in torn:
            say(f"--resume={flags.resume}: passed over {line}")
        if checkpoint is not None:
            return Start(checkpoint=_compared(checkpoint, flags, config, num_videos, data))
        say(f"--resume=auto: no checkpoint in {config.train.save_dir} yet, training starts at epoch 0")
    frozen = config.train.freeze_stages
    random = "" if frozen else ", or start from random weights by --pretrain=none"
    if config.train.pretrain.lower() == "none":
        if frozen:
            raise InputError(
                f"--pretrain=none with TRAIN.freeze_stages {frozen}: the frozen layers would stay random, and "
                "nothing can be learned on top: give weights by --pretrain=PATH, or train all layers by "
                "TRAIN.freeze_stages=0"
            )
        return Start()
    otherwise = f"give others by --pretrain=PATH{random}"
    if config.train.pretrain:
        weights = find_weights(config.train.pretrain, otherwise)
        return Start(backbone=str(weights), rows=_rows_kept(config, weights))
    if (backbone := backbone_of(config.model)) != "resnet-50":
        raise InputError(f"there are ImageNet weights to download for resnet-50, not for {backbone}: {otherwise}")
    return Start(backbone=str(imagenet_resnet50(otherwise=otherwise)))


def _rows_kept(config: Config, weights: Path) -> dict[int, int]:
    """Return, and print, our classes that the manifest beside the weights also names: our number -> its number."""
    names = _names(config)
    try:
        beside = read_beside(weights)
    except InputError as error:
        say(f"{error}: the classifier starts from random numbers")
        return {}
    if not (names and beside and beside.classes):
        return {}
    if beside.sha256 not in ("", digest(weights)):
        say(f"{beside.path} is not of {weights.name}: the classifier starts from random numbers")
        return {}
    known = {name: k for k, name in enumerate(beside.classes)}
    rows = {k: known[name] for k, name in enumerate(names) if name in known}
    new = [quoted(name) for k, name in enumerate(names) if k not in rows]
    if rows:
        listed = ", ".join(new[:SHOWN]) + (", ..." if len(new) > SHOWN else "")
        say(
            f"the classifier's rows of {len(rows)} of {len(names)} classes are kept, by their names in {beside.path}"
            + (f"; new: {listed}" if new else "")
        )
    return rows


def _weights_alone(resume: str) -> str | None:
    """Return the weights that --resume names if they are no checkpoint: a weights file, or a prefix of nothing else."""
    prefix = prefix_of(resume)
    if prefix == Path(resume) and os.path.isfile(resume):
        return resume  # in another format, for example .safetensors
    others = [with_suffix(prefix, ".json")]
    if not resume.endswith(".pdparams"):
        others.append(with_suffix(prefix, ".pdopt"))
    if resume == "auto" or os.path.isdir(resume) or any(map(os.path.exists, others)):
        return None
    weights = with_suffix(prefix, ".pdparams")
    return str(weights) if weights.is_file() else None


def _compared(
    checkpoint: Checkpoint, flags: Flags, config: Config, num_videos: int, data: Mapping[str, str]
) -> Checkpoint:
    """Return the checkpoint. Raise InputError for contradictions, and report harmless changes of settings."""
    where, progress, train = f"--resume={flags.resume}: {checkpoint.prefix}", checkpoint.progress, config.train
    for key in MODEL_KEYS:
        # A checkpoint older than a key was made with the key's default.
        here, there = getattr(config.model, key), checkpoint.model.get(key, getattr(ModelConfig, key))
        if here != there and plain_name(here) != plain_name(there):
            raise InputError(f"{where} has MODEL.{key} {one_line(repr(there))}, the configuration has {here!r}")
    trained = checkpoint.train.get("freeze_stages", TrainConfig.freeze_stages)
    if trained != train.freeze_stages:
        raise InputError(
            f"{where} has TRAIN.freeze_stages {one_line(repr(trained))}, the configuration has {train.freeze_stages}: "
            "other weights would be trained, without their momentum"
        )
    if (progress.epoch, progress.step) > (train.epoch, 0):
        raise InputError(
            f"{where} is in epoch {progress.epoch}, counted from 0, but TRAIN.epoch ends after {train.epoch}"
        )
    changed = {}
    if config.model.dropout != (there := checkpoint.model.get("dropout", ModelConfig.dropout)):
        changed["MODEL.dropout"] = (one_line(str(there)), config.model.dropout)
    for key in TRAIN_KEYS:
        # A checkpoint older than a key was trained with its default.
        here, there = _setting(train, key), checkpoint.train.get(key, _setting(TrainConfig, key))
        if here != there:
            changed[f"TRAIN.{key}"] = (one_line(str(there)), here)
    if progress.videos != num_videos:
        changed["the number of videos"] = (progress.videos, num_videos)
    for name in data.keys() & checkpoint.data.keys():  # an old checkpoint has no data, and a run may have no validation
        if data[name] != checkpoint.data[name]:
            changed[name] = (one_line(checkpoint.data[name][:8]), data[name][:8])
    if progress.step and (cuts := changed.keys() & CUTS):
        what = "; ".join(f"{name} was {changed[name][0]}, is {changed[name][1]}" for name in sorted(cuts))
        raise InputError(f"{where} stops within epoch {progress.epoch}, and its remaining steps would change: {what}")
    for name, (there, here) in changed.items():
        say(f"{where}: {name} was {there}, continues with {here}")
    if VALID_LIST in changed and progress.best_epoch >= 0:
        say(
            f"{where}: the best epoch so far, {progress.best_epoch}, was chosen on the other list: the choice "
            "starts again"
        )
        return replace(checkpoint, progress=replace(progress, best_epoch=-1, best_top1=-1.0, not_better=0))
    return checkpoint

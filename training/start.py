"""What a run starts from: a checkpoint, weights to fine-tune, ImageNet weights, or nothing."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from models.weights.download import imagenet_resnet50
from models.weights.loading import load_weights
from training.checkpoint import Checkpoint, find_checkpoint, prefix_of, read_momentum, with_suffix
from utils.config.flags import Flags
from utils.config.keys import ModelConfig, TrainConfig
from utils.config.loading import Config
from utils.config.strict_yaml import one_line
from utils.errors import InputError
from utils.log import say
from utils.processes.ranks import World

MODEL_KEYS = ("name", "backbone", "num_layers", "num_classes", "seglen")  # a checkpoint of another model cannot go on
TRAIN_KEYS = (
    "learning_rate", "learning_rate_decay", "learning_rate_batch", "epoch", "momentum", "l2_weight_decay", "batch_size",
    "accumulate_steps", "freeze_batch_norm", "amp", "seg_num", "short_size", "target_size", "sampling", "resize",
    "keep_aspect_ratio", "multi_scale_crop", "schedule", "milestones", "warmup_epochs", "warmup_learning_rate",
    "nesterov", "clip_gradient_norm", "label_smoothing", "mixup_alpha", "no_decay_on_bn_and_bias",
    "classifier_learning_rate", "freeze_stages", "feature_views", "balance_classes",
)  # fmt: skip


def describe_run(config: Config) -> dict[str, Any]:
    """What a checkpoint's manifest says about the run that wrote it."""
    return {
        "model": {key: getattr(config.model, key) for key in (*MODEL_KEYS, "dropout")},
        "train": {key: _setting(config, key) for key in TRAIN_KEYS},
        "config": config.dump(),
        "versions": {"python": platform.python_version(), "paddle": paddle.__version__, "numpy": np.__version__},
    }


def _setting(config: Config, key: str) -> Any:
    """A value of TRAIN as JSON gives it back."""
    value = getattr(config.train, key)
    return list(value) if isinstance(value, tuple) else value


def check_agreement(world: World, flags: Flags, config: Config, num_videos: int, num_valid: int) -> None:
    """Raises InputError where machines have been started with different settings or lists: they would wait for ever."""
    about = describe_run(config)
    ours = {
        **{f"MODEL.{key}": value for key, value in about["model"].items()},
        **{f"TRAIN.{key}": value for key, value in about["train"].items()},
        **{f"--{name}": getattr(flags, name) for name in ("log_interval", "valid_interval")},
        "the number of training videos": num_videos,
        "the number of validation videos": num_valid,
    }
    for name, theirs in world.first(ours).items():
        if ours[name] != theirs:
            raise InputError(f"rank {world.rank} is not started like rank 0: {name} is {ours[name]}, there {theirs}")


@dataclass(frozen=True)
class Start:
    """At most one of the three is set; none: random weights."""

    checkpoint: Checkpoint | None = None  # training goes on where it stood
    weights: str | None = None  # of a whole network: fine-tuning from epoch 0
    backbone: str | None = None  # its classifier is left out

    def load(self, model: paddle.nn.Layer) -> dict[str, np.ndarray]:
        """The momentum by parameter name, {} without; fills the model, and says with what. Raises InputError."""
        if self.checkpoint:
            load_weights(model, with_suffix(self.checkpoint.prefix, ".pdparams"))
            progress = self.checkpoint.progress
            say(f"resumed from {self.checkpoint.prefix}: epoch {progress.epoch}, iter {progress.step}")
            return read_momentum(self.checkpoint.prefix, model)
        if self.weights:
            say(f"--resume={self.weights} holds weights only: fine-tuning starts from them at epoch 0")
            say(str(load_weights(model, self.weights)))
        elif self.backbone:
            say(str(load_weights(model, self.backbone, pretrain=True)))
        else:
            say("--pretrain=none: training starts from random weights")
        return {}


def find_start(flags: Flags, config: Config, num_videos: int) -> Start:
    """Where the flags say to start. Raises InputError when that is missing, torn or contradicts the configuration."""
    if flags.resume:
        if weights := _weights_alone(flags.resume):
            return Start(weights=weights)
        checkpoint, torn = find_checkpoint(flags.resume, config.train.save_dir)
        for line in torn:
            say(f"--resume={flags.resume}: passed over {line}")
        if checkpoint is not None:
            return Start(checkpoint=_compared(checkpoint, flags, config, num_videos))
        say(f"--resume=auto: no checkpoint in {config.train.save_dir} yet, training starts at epoch 0")
    if (flags.pretrain or "").lower() == "none":
        return Start()
    if flags.pretrain:
        return Start(backbone=flags.pretrain)
    if (config.model.num_layers, config.model.backbone) != (50, "resnet"):
        network = f"{config.model.num_layers}" + (" of resnet_vd" if config.model.backbone == "resnet_vd" else "")
        raise InputError(
            f"there are ImageNet weights to download for MODEL.num_layers 50, not for {network}: "
            "give others by --pretrain=PATH, or start from random weights by --pretrain=none"
        )
    return Start(backbone=str(imagenet_resnet50()))


def _weights_alone(resume: str) -> str | None:
    """The weights that --resume names without being a checkpoint: a file of them, or a prefix that has nothing else."""
    prefix = prefix_of(resume)
    if prefix == Path(resume) and os.path.isfile(resume):
        return resume  # of another kind, such as .safetensors
    others = [with_suffix(prefix, ".json")]
    if not resume.endswith(".pdparams"):
        others.append(with_suffix(prefix, ".pdopt"))
    if resume == "auto" or os.path.isdir(resume) or any(map(os.path.exists, others)):
        return None
    weights = with_suffix(prefix, ".pdparams")
    return str(weights) if weights.is_file() else None


def _compared(checkpoint: Checkpoint, flags: Flags, config: Config, num_videos: int) -> Checkpoint:
    """The checkpoint; stops on what contradicts it, says which harmless settings have changed."""
    where, progress, train = f"--resume={flags.resume}: {checkpoint.prefix}", checkpoint.progress, config.train
    for key in MODEL_KEYS:
        # A key that did not exist yet had the meaning of its default.
        here, there = getattr(config.model, key), checkpoint.model.get(key, getattr(ModelConfig, key))
        if here != there and str(here).lower() != str(there).lower():
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
        # A checkpoint that is older than a key was trained with its default.
        here, there = _setting(config, key), checkpoint.train.get(key, getattr(TrainConfig, key))
        if here != there:
            changed[f"TRAIN.{key}"] = (one_line(str(there)), here)
    if progress.videos != num_videos:
        changed["the number of videos"] = (progress.videos, num_videos)
    cuts = {"TRAIN.batch_size", "TRAIN.accumulate_steps", "TRAIN.balance_classes", "the number of videos"}
    cuts &= changed.keys()
    if progress.step and cuts:
        what = "; ".join(f"{name} was {changed[name][0]}, is {changed[name][1]}" for name in sorted(cuts))
        raise InputError(f"{where} stands within epoch {progress.epoch}, whose steps would be others: {what}")
    for name, (there, here) in changed.items():
        say(f"{where}: {name} was {there}, goes on with {here}")
    return checkpoint

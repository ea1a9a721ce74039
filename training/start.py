"""What a run starts from: a checkpoint, weights to fine-tune, ImageNet weights, or nothing."""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from models.weights import load_weights
from utils.checkpoint import Checkpoint, find_checkpoint, load_optimizer
from utils.config import Config
from utils.download import imagenet_resnet50
from utils.errors import InputError
from utils.flags import Flags
from utils.log import say

MODEL_KEYS = ("name", "num_layers", "num_classes", "seglen")  # a checkpoint of another model cannot go on
TRAIN_KEYS = (
    "learning_rate", "learning_rate_decay", "learning_rate_batch", "epoch", "momentum", "l2_weight_decay", "batch_size",
    "accumulate_steps", "freeze_batch_norm", "amp",
)  # fmt: skip


def describe_run(config: Config) -> dict[str, Any]:
    """What a checkpoint's manifest says about the run that wrote it."""
    return {
        "model": {key: getattr(config.model, key) for key in MODEL_KEYS},
        "train": {key: getattr(config.train, key) for key in TRAIN_KEYS},
        "config": config.dump(),
        "versions": {"python": platform.python_version(), "paddle": paddle.__version__, "numpy": np.__version__},
    }


@dataclass(frozen=True)
class Start:
    """Exactly one of the three is set, or none: random weights."""

    checkpoint: Checkpoint | None = None  # training goes on where it stood
    weights: str | None = None  # of a whole network: fine-tuning from epoch 0
    backbone: str | None = None  # its classifier is left out

    def load(self, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer) -> None:
        """Fills model and optimizer, and says with what. Raises InputError when it does not fit."""
        if self.checkpoint:
            load_weights(model, f"{self.checkpoint.prefix}.pdparams")
            load_optimizer(self.checkpoint.prefix, model, optimizer)
            progress = self.checkpoint.progress
            say(f"resumed from {self.checkpoint.prefix}: epoch {progress.epoch}, iter {progress.step}")
        elif self.weights:
            say(f"--resume={self.weights} holds weights only: fine-tuning starts from them at epoch 0")
            say(str(load_weights(model, self.weights)))
        elif self.backbone:
            say(str(load_weights(model, self.backbone, pretrain=True)))
        else:
            say("--pretrain=none: training starts from random weights")


def find_start(flags: Flags, config: Config, num_videos: int) -> Start:
    """Where the flags say to start. Raises InputError when that is missing, torn or contradicts the configuration."""
    if flags.resume:
        path = Path(flags.resume)
        weights = path if path.suffix == ".pdparams" else path.with_name(path.name + ".pdparams")
        if flags.resume != "auto" and weights.is_file() and not weights.with_suffix(".json").exists():
            return Start(weights=str(weights))
        checkpoint, torn = find_checkpoint(flags.resume, flags.save_dir)
        for line in torn:
            say(f"--resume={flags.resume}: passed over {line}")
        if checkpoint is not None:
            _compare(checkpoint, flags, config, num_videos)
            return Start(checkpoint=checkpoint)
        say(f"--resume=auto: no checkpoint in {flags.save_dir} yet")
    if (flags.pretrain or "").lower() == "none":
        return Start()
    if flags.pretrain:
        return Start(backbone=flags.pretrain)
    if config.model.num_layers != 50:
        raise InputError(
            f"there are ImageNet weights to download for MODEL.num_layers 50, not for {config.model.num_layers}: "
            "give a file with --pretrain=PATH, or --pretrain=none to start from random weights"
        )
    return Start(backbone=str(imagenet_resnet50()))


def _compare(checkpoint: Checkpoint, flags: Flags, config: Config, num_videos: int) -> None:
    """Stops on what contradicts the checkpoint; says which harmless settings have changed."""
    where = f"--resume={flags.resume}: {checkpoint.prefix}"
    for key in MODEL_KEYS:
        here, there = getattr(config.model, key), checkpoint.model.get(key)
        if here != there and str(here).lower() != str(there).lower():
            raise InputError(f"{where} has MODEL.{key} {there!r}, the configuration has {here!r}")
    changed = {}
    for key in TRAIN_KEYS:
        here, there = getattr(config.train, key), checkpoint.train.get(key)
        if here != there:
            changed[f"TRAIN.{key}"] = (there, here)
    if checkpoint.progress.videos != num_videos:
        changed["the number of videos"] = (checkpoint.progress.videos, num_videos)
    cuts = {"TRAIN.batch_size", "TRAIN.accumulate_steps", "the number of videos"} & changed.keys()
    if checkpoint.progress.step and cuts:
        what = "; ".join(f"{name} was {changed[name][0]}, is {changed[name][1]}" for name in sorted(cuts))
        raise InputError(f"{where} stands within an epoch, whose steps would be others: {what}")
    for name, (there, here) in changed.items():
        say(f"{where}: {name} was {there}, goes on with {here}")

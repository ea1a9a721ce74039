"""config.yaml for the lists of a data set: ready for train.py, eval.py and predict.py, each key with its reason."""

import math
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import yaml

from data.classes import KINETICS_LABELS, Classes
from utils.config.keys import TrainConfig
from utils.processes.limits import available_cores, available_memory

NAME = "config.yaml"
LEAST_BATCH, MOST_BATCH = 4, 32
STEPS, LEAST_EPOCHS, MOST_EPOCHS = 400, 15, 100
SEGMENTS = 3
# Bytes that train.py takes on a CPU with ResNet-50 and three frames of 224x224 a video, in float32: Paddle 3.3.1 took
# 0.73 GB and 0.265 GB for each video of the batch.
BASE_MEMORY, VIDEO_MEMORY = 1.0e9, 0.3e9
CPU_SPEED = 3  # frames trained in a second on a core, about
FEATURE_SPEED = 20  # of a frozen network, in float32, about
FROZEN = "TRAIN.freeze_stages=5"
VIEWS = TrainConfig.feature_views


def is_published(classes: Classes) -> bool:
    """Whether the classes have the numbers of the published weights."""
    return bool(classes.source) and os.path.samefile(classes.source, KINETICS_LABELS)


def commands(out: Path, classes: Classes, clips: Mapping[str, int]) -> list[str]:
    """What can be called next, word for word; `clips` has the number of clips of each list that is there.

    Own classes have a classifier in minutes: train.py leaves the rest of the network as it is.
    """
    config = shlex.quote(f"--config={out / NAME}")
    train = "train.list" in clips
    frozen = "" if is_published(classes) else f" --set {FROZEN}"
    lines = [f"python train.py {config}{frozen}"] * train
    lines += [f"python eval.py {config}"] * (train or "test.list" in clips)
    lines.append(f"python predict.py {config}")
    if train and is_published(classes):
        lines.append(f"python eval.py {config} --set TEST.weights=  # the published weights, which know these classes")
    return lines


def batch_size(clips: int, memory: int | None) -> tuple[int, str]:
    """The batch size for so many training clips and bytes of free memory (None: not known), a power of two, and why."""
    size = _power_of_two(max(LEAST_BATCH, min(clips // 10, MOST_BATCH)))
    reasons = {
        LEAST_BATCH: f"few clips, but BatchNorm's statistics want {LEAST_BATCH} videos",
        MOST_BATCH: "what each of the original's 8 GPUs had; takes 9 GB of memory",
    }
    why = reasons.get(size, "so that an epoch has ten steps or more")
    fits = size if memory is None else int((memory / 2 - BASE_MEMORY) / VIDEO_MEMORY)
    if fits < size:
        size = _power_of_two(max(2, fits))
        takes = (BASE_MEMORY + size * VIDEO_MEMORY) / 1e9
        why = f"takes {takes:.1f} GB of memory; {memory / 1e9:.1f} GB were free here"
    return size, why


def _power_of_two(number: int) -> int:
    return 2 ** int(math.log2(number))


def epochs(clips: int, batch: int) -> tuple[int, str]:
    """The number of epochs for so many training clips, and why."""
    steps = max(1, math.ceil(clips / batch))
    number = min(max(LEAST_EPOCHS, math.ceil(STEPS / steps)), MOST_EPOCHS)
    return (
        number,
        f"{number * steps} steps: fine-tuning wants some hundreds, but {LEAST_EPOCHS} to {MOST_EPOCHS} epochs",
    )


def cpu_time(frames: int, cores: int, speed: float = CPU_SPEED) -> str:
    """About how long so many frames take without a GPU, at so many in a second on each core."""
    minutes = frames / (speed * cores) / 60
    if minutes > 120:
        return f"{minutes / 60:.0f} h" if minutes < 2880 else f"{minutes / 1440:.0f} days"
    return f"{max(1, minutes):.0f} min"


def config_text(out: Path, classes: Classes, clips: Mapping[str, int]) -> str:
    """The configuration for the lists in `out`; `clips` has the number of clips of each list that is there."""
    train, cores = clips.get("train.list", 0), available_cores()
    batch, why_batch = batch_size(train, available_memory())
    epoch, why_epochs = epochs(train, batch)
    time = cpu_time(epoch * train * SEGMENTS, cores)
    frozen_time = cpu_time(VIEWS * train * SEGMENTS, cores, FEATURE_SPEED)
    valid = out / "val.list" if "val.list" in clips else ""
    about_valid = f"{clips['val.list']} clips" if valid else "'': no clip is left for validation"
    test, about_test = _list_for("test.list", clips)
    infer, about_infer = _list_for("infer.list", clips)
    weights, about_weights = _weights(out, classes, clips)
    called = "\n".join(f"#   {_printable(command)}" for command in commands(out, classes, clips))
    return f"""\
# Written by data/make_lists.py for the lists beside it; its --force writes this file anew as well.
#
{called}
#
# What is not here has its default: docs/flags_and_keys.md.

MODEL:
    # as many as kinetics_labels.json has names
    num_classes: {len(classes.names)}
    # the depth of the ImageNet weights that train.py downloads; another one needs --pretrain=PATH or --pretrain=none
    num_layers: 50
    # as mmaction2's TSN has it, on UCF101 too
    dropout: 0.4

TRAIN:
    # The recipe is that of configs/finetune.yaml.
    # {train} clips
    filelist: {_quoted(out / "train.list")}
    # beside the lists: in the common data/checkpoints two data sets would overwrite each other
    save_dir: {_quoted(out / "checkpoints")}
    # {why_batch}
    batch_size: {batch}
    # {why_epochs};
    # without a GPU about {time} on {cores} core{"s" * (cores > 1)}, at {CPU_SPEED} frames a second each; with --set
    # {FROZEN} about {frozen_time} for {VIEWS} views of each clip, and seconds for the epochs
    epoch: {epoch}
    # what Wang et al. fine-tune UCF101 and HMDB51 with; the original's 0.01 is for 256 videos a step
    learning_rate: 0.001
    # the rate falls in every step, to 0 at the end: no milestones to find for this number of epochs
    schedule: "cosine"
    # the classifier starts from random weights, all else from trained ones; 5 is what PP-TSN and TSM take
    classifier_learning_rate: 5
    # a class with few clips is seen as often as the others
    balance_classes: True
    # crops of several sizes: few clips want more variety
    multi_scale_crop: 5
    # what mmaction2 fine-tunes UCF101 with, as the next one
    l2_weight_decay: 5e-4
    # no step is spoiled by one clip that is unlike all others
    clip_gradient_norm: 40
    # one takes 190 MB; the best one stays as well
    keep_checkpoints: 2

VALID:
    # {about_valid}
    filelist: {_quoted(valid)}
    # what fits into memory in training fits here
    batch_size: {batch}

TEST:
    # {about_test}
    filelist: {_quoted(out / test)}
    # {about_weights}
    weights: {_quoted(weights)}

INFER:
    # {about_infer}
    filelist: {_quoted(out / infer)}
    # the names by class id
    kinetics_labels: {_quoted(out / "kinetics_labels.json")}
    # {about_weights}
    weights: {_quoted(weights)}
"""


def _list_for(name: str, clips: Mapping[str, int]) -> tuple[str, str]:
    """The list to read, that of training where no other clip is left, and what to say about it."""
    if name not in clips and "train.list" in clips:
        return "train.list", "no clip is left for this: those of training, on which any network looks too good"
    return name, f"{clips.get(name, 0)} clips"


def _weights(out: Path, classes: Classes, clips: Mapping[str, int]) -> tuple[str | Path, str]:
    """The weights to evaluate and predict with, and what to say about them."""
    if "train.list" not in clips and is_published(classes):
        return "", "'': the published ones, which know these classes"
    if "val.list" in clips:
        return out / "checkpoints" / "TSN_best.pdparams", "train.py's epoch with the best validation"
    return out / "checkpoints" / "TSN.pdparams", "train.py's last epoch"


def _quoted(text: str | Path) -> str:
    """The text in YAML's double quotes, whatever is in it."""
    return yaml.safe_dump(str(text), default_style='"', allow_unicode=True, width=1_000_000).strip()


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

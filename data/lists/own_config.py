"""Make the text of config.yaml for a data set's lists, ready for all scripts, with a reason for each key."""

import math
import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from data.lists.classes import KINETICS_LABELS, Classes
from data.lists.own_networks import IMAGENET, LIGHT, STRONG, OwnNetwork
from utils.commands import to_type
from utils.errors import InputError
from utils.processes.limits import available_cores, available_memory

NAME = "config.yaml"
LEAST_BATCH, MOST_BATCH = 4, 32
STEPS, LEAST_EPOCHS, MOST_EPOCHS = 400, 15, 100
# Bytes that train.py needs on a CPU before it holds any video, in float32: 0.73 GB with Paddle 3.3.1.
BASE_MEMORY = 1.0e9
MANY = "    # a clip may have several classes\n    labels: multi\n"
BALANCED = "    # a class with few clips is seen as often as the others\n    balance_classes: True\n"
# With at most FROZEN_CLIPS training clips, only the classifier is trained, on at most MOST_VIEWS views of each clip and
# ALL_VIEWS in total. With 20, 60 and 120 real clips (ResNet-18, random weights), five views a clip gave 3 to 6 points
# more than one, three views 2 to 5, and a sixth view nothing. PP-TSM takes about 40 minutes on two cores for 6000 views
# of 8 frames.
FROZEN_CLIPS, MOST_VIEWS, ALL_VIEWS = 2000, 10, 6000


def is_published(classes: Classes) -> bool:
    """Return whether the classes are numbered as in the published weights."""
    return bool(classes.source) and os.path.samefile(classes.source, KINETICS_LABELS)


def network_for(classes: Classes, light: bool) -> OwnNetwork:
    """Return the network to start from. Raises InputError if `light` is set for classes that published weights know."""
    if not is_published(classes):
        return LIGHT if light else STRONG
    if light:
        pptsmv2 = to_type("predict.py", "--weights=pptsmv2")
        raise InputError(f"--light: leave it out: published weights know these classes already: {pptsmv2}")
    return IMAGENET


def commands(out: Path, classes: Classes, clips: Mapping[str, int]) -> list[str]:
    """Return the commands to type next. clips: the number of clips in each list that was written."""
    config = f"--config={out / NAME}"
    train = "train.list" in clips
    lines = [to_type("train.py", config)] * train
    lines += [to_type("eval.py", config)] * (train or "test.list" in clips)
    lines.append(to_type("predict.py", config))
    if train and is_published(classes):
        published = to_type("eval.py", config, "--set", "TEST.weights=")
        lines.append(f"{published}  # the published weights, which know these classes")
    return lines


def feature_views(clips: int) -> int:
    """Return the number of views per training clip for which features are computed."""
    return max(1, min(MOST_VIEWS, ALL_VIEWS // max(1, clips)))


def batch_size(clips: int, memory: int | None, video_memory: float) -> tuple[int, str]:
    """Return (the batch size, a power of two; the reason for it). memory: free bytes, None if unknown."""
    size = _power_of_two(max(LEAST_BATCH, min(clips // 10, MOST_BATCH)))
    reasons = {
        LEAST_BATCH: f"few clips, but BatchNorm's statistics need {LEAST_BATCH} videos",
        MOST_BATCH: "as on each of the original's 8 GPUs",
    }
    why = reasons.get(size, "an epoch has at least ten steps")
    fits = size if memory is None else int((memory / 2 - BASE_MEMORY) / video_memory)
    if fits < size:
        size = _power_of_two(max(2, fits))
        takes = (BASE_MEMORY + size * video_memory) / 1e9
        why = f"this takes {takes:.1f} GB of memory; {memory / 1e9:.1f} GB were free here"
    return size, why


def _power_of_two(number: int) -> int:
    return 2 ** int(math.log2(number))


def epochs(clips: int, batch: int) -> tuple[int, str]:
    """Return (the number of epochs for this number of training clips, the reason for it)."""
    steps = max(1, math.ceil(clips / batch))
    number = min(max(LEAST_EPOCHS, math.ceil(STEPS / steps)), MOST_EPOCHS)
    why = f"{number * steps} steps: fine-tuning needs some hundreds, within {LEAST_EPOCHS} to {MOST_EPOCHS} epochs"
    return number, why


def cpu_time(frames: int, cores: int, speed: float) -> str:
    """Return in words how long `frames` frames take without a GPU. speed: frames a second on each core."""
    minutes = frames / (speed * cores) / 60
    if minutes > 120:
        return f"{minutes / 60:.0f} h" if minutes < 2880 else f"{minutes / 1440:.0f} days"
    return f"{max(1, minutes):.0f} min"


def config_text(out: Path, classes: Classes, clips: Mapping[str, int], network: OwnNetwork, many: bool = False) -> str:
    """Return the configuration for the lists in `out`.

    clips: the number of clips in each list that was written. many: whether a clip may have several classes.
    """
    train, cores = clips.get("train.list", 0), available_cores()
    batch, why_batch = batch_size(train, available_memory(), network.video_memory)
    epoch, why_epochs = epochs(train, batch)
    frozen = network is not IMAGENET and train <= FROZEN_CLIPS
    on_cores = f"on {cores} core{'s' * (cores > 1)}"
    dropout, why_dropout = network.frozen_dropout if frozen else network.dropout
    why_frozen = (
        f"trains the classifier only, for up to {FROZEN_CLIPS} clips; 0 trains all, with dropout {network.dropout[0]}"
        if frozen
        else "trains all; 5 trains the classifier only, in a small part of the time without a GPU"
    )
    views, frames = feature_views(train), train * network.segments
    time = cpu_time(epoch * frames, cores, network.train_speed)
    frozen_time = cpu_time(views * frames, cores, network.feature_speed)
    valid = out / "val.list" if "val.list" in clips else ""
    about_valid = f"{clips['val.list']} clips" if valid else "empty: no clip is left for validation"
    test, about_test = _list_for("test.list", clips)
    infer, about_infer = _list_for("infer.list", clips)
    weights, about_weights = _weights(out, classes, clips, network)
    called = "\n".join(f"#   {_printable(command)}" for command in commands(out, classes, clips))
    return f"""\
# Written by data/make_lists.py for the lists beside it. With --force it overwrites this file too.
#
{called}
#
# Keys that are not here have their defaults: docs/flags_and_keys.md.

MODEL:
    # the number of names in kinetics_labels.json
    num_classes: {len(classes.names)}
{MANY * many}\
{network.keys}\
    # {why_dropout}
    dropout: {dropout}

TRAIN:
    # The recipe of configs/finetune.yaml.
    # {train} clips
    filelist: {_quoted(out / "train.list")}
    # {network.about} downloaded once, without their classifier
    pretrain: {_quoted(network.pretrain)}
    # {why_frozen}
    freeze_stages: {5 * frozen}
    # for freeze_stages 5; fewer for many clips. Without a GPU they take about {frozen_time} {on_cores}, once;
    # the epochs then take seconds
    feature_views: {views}
    # beside the lists: in the default data/checkpoints, two data sets would overwrite each other
    save_dir: {_quoted(out / "checkpoints")}
    # {why_batch}
    batch_size: {batch}
    # {why_epochs};
    # with freeze_stages 0 and no GPU, about {time} {on_cores}, at {network.train_speed} frames a second each
    epoch: {epoch}
    # as MIT's TSM and Wang et al. fine-tune on UCF101; the original's 0.01 is for 256 videos a step
    learning_rate: 0.001
    # the rate falls at every step, to 0 at the end, so there are no milestones to choose
    schedule: "cosine"
    # the classifier starts from random weights, all other layers from trained ones; PP-TSN and TSM use 5
    classifier_learning_rate: 5
{BALANCED * (not many)}\
    # crops of several sizes: few clips need more variety
    multi_scale_crop: 5
    # this and the next key: as MIT's TSM fine-tunes on UCF101
    l2_weight_decay: 5e-4
    # one unusual clip does not spoil a step
    clip_gradient_norm: 20
    # one takes 190 MB; the best one is kept as well
    keep_checkpoints: 2

VALID:
    # {about_valid}
    filelist: {_quoted(valid)}
    # training needs more memory, so this fits too
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
    """Return (the list to read, a comment on it). Without other clips, it is the training list."""
    if name not in clips and "train.list" in clips:
        return "train.list", "no other clip is left: on these training clips, any network looks too good"
    return name, f"{clips.get(name, 0)} clips"


def _weights(out: Path, classes: Classes, clips: Mapping[str, int], network: OwnNetwork) -> tuple[str | Path, str]:
    """Return (the weights to evaluate and predict with, a comment on them)."""
    if "train.list" not in clips and is_published(classes):
        return "", "empty: the published weights, which know these classes"
    if "val.list" in clips:
        return out / "checkpoints" / f"{network.name}_best.pdparams", "train.py's epoch with the best validation"
    return out / "checkpoints" / f"{network.name}.pdparams", "train.py's last epoch"


def _quoted(text: str | Path) -> str:
    """Return the text in YAML's double quotes."""
    return yaml.safe_dump(str(text), default_style='"', allow_unicode=True, width=1_000_000).strip()


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

"""Warn about bad settings before a run's first step: a line each, on the screen and on the page."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from metrics.sums import wilson
from models.registry import get_model_class
from reader.build import mirrors_advised
from reader.filelist import FileList
from reader.labels import ids_of
from training.schedule import Schedule
from training.verdict import WIDE
from utils.config.loading import Config
from utils.config.shared_keys import ModelConfig
from utils.config.train_keys import TrainConfig

SHOWN = 5  # most classes in a line
OFTEN = 5  # a line reports more draws of a video per epoch than this


def warnings(
    config: Config, entries: FileList, valid_entries: FileList, schedule: Schedule, num_devices: int
) -> list[str]:
    """Return a line for each problem."""
    lists = _of_lists(entries, valid_entries, config.model)
    patient = config.train.patience and not valid_entries
    return [
        *mirrors_advised(config),
        *lists,
        *(["TRAIN.patience: nothing is validated: all epochs are run"] if patient else ()),
        *(_of_draws(entries) if config.train.balance_classes else ()),
        *_of_settings(config, len(entries), num_devices),
        *_of_rates(config.train, schedule),
    ]


def _of_lists(entries: FileList, valid_entries: FileList, model: ModelConfig) -> Iterator[str]:
    # Hashes in place of paths: comparing a million paths takes only the memory of numbers.
    labels = {hash(entry.path): entry.label for entry in entries}
    other = sum(entry.label != labels[hash(entry.path)] for entry in entries)
    if other:
        yield f"{other} lines of the training list have the path of another line, under another label"
    both = [entry for entry in valid_entries if hash(entry.path) in labels]
    if both:
        what = "the validation list is in" if len(both) == len(valid_entries) else f"{len(both)} of its videos are in"
        who = "" if len(both) == len(valid_entries) else f"validation, {len(valid_entries)} videos: "
        yield f"{who}{what} the training list, too: memorised videos count as right"
        if other := sum(entry.label != labels[hash(entry.path)] for entry in both):
            yield f"{other} of the videos of both lists have another label in each"
    counts, num_classes = Counter(one for entry in entries for one in ids_of(entry.label) or (None,)), model.num_classes
    if None not in counts:  # pickles, whose labels are inside the files, count as None
        without = [label for label in range(num_classes) if not counts[label]]
        alone = [label for label in range(num_classes) if counts[label] == 1]
        if without:
            yield f"classes without a training video: {len(without)} of {num_classes}: {_listed(without)}"
        if alone:
            yield f"classes with one training video: {len(alone)} of {num_classes}: {_listed(alone)}"
    if valid_entries and model.labels == "single":
        low, high = wilson(len(valid_entries) / 2, len(valid_entries))
        if high - low > WIDE:
            yield (
                f"{len(valid_entries)} validation videos: an accuracy of 50% may be {low:.0f} to {high:.0f} with 95% "
                "confidence: the choice of the best epoch is mostly noise"
            )


def _of_draws(entries: FileList) -> Iterator[str]:
    """Yield lines on how TRAIN.balance_classes repeats rare classes, see `reader.sampling.balanced_order`."""
    counts = Counter(entry.label for entry in entries)
    label, videos = min(counts.items(), key=lambda item: (item[1], item[0]))
    most = math.ceil(math.ceil(len(entries) / len(counts)) / videos)
    if most > OFTEN:
        yield (
            f"TRAIN.balance_classes draws each training video of class {label}, which has {videos}, up to {most} times "
            "an epoch: it may be memorised; TRAIN.class_weights=balanced weighs the classes instead"
        )


def _listed(labels: Sequence[int]) -> str:
    return ", ".join(map(str, labels[:SHOWN])) + ", ..." * (len(labels) > SHOWN)


def _of_settings(config: Config, videos: int, num_devices: int) -> Iterator[str]:
    train = config.train
    if train.batch_size * train.accumulate_steps > videos:
        yield f"TRAIN.batch_size {train.batch_size} is larger than the list of {videos} videos: one step an epoch"
    alone = 1 if train.sync_batch_norm else num_devices
    if train.batch_size == alone and not train.freeze_batch_norm and train.freeze_stages < 5:
        yield (
            "one video a batch: BatchNorm's statistics come from single videos: set a larger TRAIN.batch_size, or "
            "TRAIN.freeze_batch_norm=True"
        )
    if train.seg_num == 1 and get_model_class(config.model.name).shifts:
        yield f"TRAIN.seg_num is 1: {config.model.name} has no other segment to shift features to, and sees no motion"


def _of_rates(train: TrainConfig, schedule: Schedule) -> Iterator[str]:
    beyond = [epoch for epoch in train.milestones or () if epoch >= train.epoch]
    if beyond and not schedule.cosine:
        yield f"TRAIN.milestones {_listed(beyond)}: the last of {train.epoch} epochs ends before: no rate falls there"
    if train.warmup_epochs >= train.epoch:
        last = schedule(train.epoch - 1, schedule.steps_per_epoch - 1)
        yield (
            f"TRAIN.warmup_epochs {train.warmup_epochs:g} is not shorter than TRAIN.epoch {train.epoch}: the rate "
            f"gets to {last:g}, not to {schedule.base:g}"
            + (": nothing is learned" if not (last or schedule.warmup_base) else "")
        )


def too_high(loss: float, chance: float, rate: float) -> str:
    """Return a line if an epoch's mean loss is far above the loss of guessing, otherwise ''."""
    if loss <= 2 * max(chance, 1):
        return ""
    return (
        f"the loss, {loss:.4g}, is far above that of chance, {chance:.4g}: a learning rate of {rate:g} is too high for "
        "these weights; a tenth of it may do"
    )

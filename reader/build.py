"""From a section of the configuration to a reader."""

import os
from collections.abc import Sequence

from reader.class_names import mirror_advice, read_labels
from reader.clip import ClipSpec
from reader.filelist import Entry, FileList, read_list
from reader.loader import Loader, worker_count
from utils.config.loading import Config
from utils.config.shared_keys import SectionConfig
from utils.config.train_keys import TrainConfig
from utils.errors import InputError
from utils.processes.ranks import World
from utils.storage.objects import is_remote

# Keys of TRAIN that have the same name in ClipSpec.
_OF_TRAIN = ("multi_scale_crop", "flip", "flip_pairs", "rand_augment", "rand_augment_magnitude", "random_erasing")


def read_section_list(config: Config, section: SectionConfig, needs_label: bool = True) -> FileList:
    """Return the videos of a section's file list. Raise InputError for a list that cannot be used."""
    classes, path = config.model.num_classes, section.filelist
    if not (is_remote(path) or os.path.isabs(path) or os.path.exists(path)):
        raise InputError(f"{path}: no such file list; a relative path is one from {os.getcwd()}")
    how = {"frame_format": section.format, "prefix": section.data_prefix, "labels": config.model.labels}
    return read_list(path, num_classes=classes, needs_label=needs_label, **how)


def in_train_list(config: Config, entries: FileList) -> int | None:
    """Return how many entries are also in TRAIN's list; None if there is no such list or it cannot be read."""
    train = config.train
    if not os.path.isfile(train.filelist):
        return None
    try:
        listed = read_section_list(config, train)
    except InputError:
        return None
    known = {hash(os.path.abspath(entry.path)) for entry in listed}  # for long lists: 8 bytes each, not the whole path
    return sum(hash(os.path.abspath(entry.path)) in known for entry in entries)


def clip_spec(section: SectionConfig, augment_seed: int | None = None) -> ClipSpec:
    """Return how the section's clips are cut; with `augment_seed`, at random, as TRAIN says."""
    return ClipSpec(
        num_segments=section.seg_num,
        seglen=section.seglen,
        short_side=section.short_size,
        crop_size=section.image_size,
        frame_format=section.format,
        filename_tmpl=section.filename_tmpl,
        sampling=section.sampling,
        resize=section.resize,
        keep_aspect_ratio=section.keep_aspect_ratio,
        crops=section.crops,
        decoder=section.decoder,
        augment_seed=augment_seed,
        **({name: getattr(section, name) for name in _OF_TRAIN} if isinstance(section, TrainConfig) else {}),
    )


def check_is_of_videos(who: str, section: SectionConfig) -> None:
    """Raise InputError if the section reads frames without times. who: needs videos, as messages call it."""
    if section.format != "mp4":
        hint = "; data/reencode.py --fps makes videos of folders" if section.format == "frames" else ""
        raise InputError(f"{who} needs videos, but INFER.format is {section.format}{hint}")


def check_takes_windows(who: str, section: SectionConfig) -> None:
    """Raise InputError if the section's videos cannot be cut into windows of time. who: as in check_is_of_videos."""
    check_is_of_videos(who, section)
    if section.seglen > 1:
        raise InputError(f"{who} takes segments of one frame, but INFER.seglen is {section.seglen}")
    if section.decoder not in ("auto", "pyav"):
        raise InputError(f"{who} decodes with pyav, but INFER.decoder is {section.decoder}")


def build_loader(
    config: Config,
    section: SectionConfig,
    entries: Sequence[Entry],
    augment_seed: int | None = None,
    needs_label: bool = True,
    batch_size: int | None = None,
    world: World = World(),
) -> Loader:
    """Return a loader of the section's clips; with `augment_seed` (training) of random ones, replacing unreadable ones.

    batch_size: videos per batch of this process; None: the section's. With several crops, batches hold proportionally
        fewer videos, so that a batch always takes the same memory.
    """
    return Loader(
        entries,
        clip_spec(section, augment_seed),
        max(1, (batch_size or section.batch_size) // section.crops),
        num_classes=config.model.num_classes if needs_label else None,
        labels=config.model.labels,
        num_workers=worker_count(section.num_reader_threads, -(-len(entries) // world.size), world.ranks_here),
        buffer_videos=section.buf_size,
        replace=augment_seed is not None,
        time_limit=section.video_timeout,
        mirrors=_mirrors(config) if augment_seed is not None else None,
    )


def _mirrors(config: Config) -> dict[int, int]:
    """Return {class id of a clip: class id of its mirror}. Raises InputError for classes that do not exist."""
    pairs, num_classes = config.train.flip_pairs, config.model.num_classes
    if not pairs:
        return {}
    names = read_labels(config.infer.kinetics_labels, num_classes) if str in {type(c) for p in pairs for c in p} else ()
    ids = {name: number for number, name in enumerate(names)} | {number: number for number in range(num_classes)}
    for one in (one for pair in pairs for one in pair if one not in ids):
        raise InputError(f"TRAIN.flip_pairs: there is no class {one!r} among the {num_classes}")
    return {ids[a]: ids[b] for pair in pairs for a, b in (pair, pair[::-1])}


def mirrors_advised(config: Config) -> list[str]:
    """Return a line of advice if class names have sides and the configuration mirrors them regardless; else []."""
    if not config.train.flip or config.train.flip_pairs:
        return []
    return mirror_advice(read_labels(config.infer.kinetics_labels, config.model.num_classes))


def describe_protocol(section: SectionConfig) -> str:
    """Return how an accuracy was measured: frames, resize and crops of each video, and the average over the crops."""
    return f"{_frames_and_crops(section)}, average {section.average}"


def describe_reading(section: SectionConfig) -> str:
    """Return the same for the screen: with a single crop there is no average to name."""
    return describe_protocol(section) if section.crops > 1 else _frames_and_crops(section)


def _frames_and_crops(section: SectionConfig) -> str:
    frames = f"{section.seg_num} segment{'s' * (section.seg_num > 1)}"
    frames += f" of {section.seglen} frames" if section.seglen > 1 else ""
    shape = "aspect ratio kept" if section.keep_aspect_ratio else "4:3"
    crops = f"{section.crops} crops" if section.crops > 1 else "1 centre crop"
    ways = f"sampling {section.sampling}, resize {section.resize}"
    return f"{frames}, short side {section.short_size} ({shape}), {crops} {section.image_size}, {ways}"

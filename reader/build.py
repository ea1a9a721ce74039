"""The crossing from a section of the configuration to a reader."""

from collections.abc import Sequence

from reader.dataset import ClipSpec
from reader.filelist import Entry, FileList, read_list
from reader.loader import Loader, worker_count
from utils.config.keys import SectionConfig, TrainConfig
from utils.config.loading import Config
from utils.processes.ranks import World


def read_section_list(config: Config, section: SectionConfig, needs_label: bool = True) -> FileList:
    """The videos of a section's file list, checked."""
    classes = config.model.num_classes
    return read_list(section.filelist, num_classes=classes, frame_format=section.format, needs_label=needs_label)


def clip_spec(section: SectionConfig, augment_seed: int | None = None) -> ClipSpec:
    """How the section's clips are cut; with `augment_seed` as TRAIN has them."""
    return ClipSpec(
        num_segments=section.seg_num,
        seglen=section.seglen,
        short_side=section.short_size,
        crop_size=section.image_size,
        frame_format=section.format,
        sampling=section.sampling,
        resize=section.resize,
        keep_aspect_ratio=section.keep_aspect_ratio,
        crops=section.crops,
        multi_scale_crop=section.multi_scale_crop if isinstance(section, TrainConfig) else "none",
        decoder=section.decoder,
        augment_seed=augment_seed,
    )


def build_loader(
    config: Config,
    section: SectionConfig,
    entries: Sequence[Entry],
    augment_seed: int | None = None,
    needs_label: bool = True,
    batch_size: int | None = None,
    world: World = World(),
) -> Loader:
    """A loader of the section's clips; with `augment_seed` (training) random ones, unreadable videos replaced.

    batch_size: videos per batch of this process; None: the section's. Of videos with several crops there are as many
        fewer: a batch takes the memory of one with a crop each.
    """
    return Loader(
        entries,
        clip_spec(section, augment_seed),
        max(1, (batch_size or section.batch_size) // section.crops),
        num_classes=config.model.num_classes if needs_label else None,
        num_workers=worker_count(section.num_reader_threads, len(entries), world.size),
        buffer_videos=section.buf_size,
        replace=augment_seed is not None,
        time_limit=section.video_timeout,
    )


def describe_protocol(section: SectionConfig) -> str:
    """What an accuracy was measured with: frames, resize and crops of each video, and what is averaged over them."""
    frames = f"{section.seg_num} segments" + (f" of {section.seglen} frames" if section.seglen > 1 else "")
    shape = "aspect ratio kept" if section.keep_aspect_ratio else "4:3"
    crops = f"{section.crops} crops" if section.crops > 1 else "1 centre crop"
    ways = f"sampling {section.sampling}, resize {section.resize}, average {section.average}"
    return f"{frames}, short side {section.short_size} ({shape}), {crops} {section.image_size}, {ways}"

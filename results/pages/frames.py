"""Read again the frames that the network saw of a few videos, for a page."""

from collections.abc import Iterator, Sequence

import numpy as np

from reader.build import build_loader
from reader.clip import middle_view
from reader.filelist import Entry
from utils.config.loading import Config
from utils.config.shared_keys import SectionConfig

# A page shows at most this many frames of a video.
MOST_FRAMES = 6


def frames_seen(
    config: Config, section: SectionConfig, entries: Sequence[Entry], positions: Sequence[int]
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (position, frames uint8 [T, H, W, 3]) of the videos at `positions`: the middle crop, T at most 6.

    They are read one after the other in reader processes, with their limits of time and memory. Videos that can no
    longer be read are left out. A segment of several frames shows its first.
    """
    few = [entries[position] for position in positions]
    if not few:
        return
    with build_loader(config, section, few, needs_label=False, batch_size=1) as loader:
        for batch in loader.batches():
            if batch.indices:
                yield positions[batch.indices[0]], shown(batch.frames[0], section)


def shown_positions(section: SectionConfig) -> list[int]:
    """Return the segments to show: all, or 6 spread from the first to the last."""
    return np.linspace(0, section.seg_num - 1, min(section.seg_num, MOST_FRAMES)).round().astype(int).tolist()


def shown(clip: np.ndarray, section: SectionConfig) -> np.ndarray:
    """Return the frames to show, uint8 [T, H, W, 3], of a clip [V * T, H, W, 3 * seglen]."""
    return middle_view(clip, section)[shown_positions(section), ..., :3]

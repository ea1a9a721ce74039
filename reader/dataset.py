"""From one video to one clip: choose, decode, crop. Plain data in and out, so that a reader process can do it."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reader.apart import fault
from reader.augment import draw_changes
from reader.clip import ClipSpec
from reader.decode import VideoError, read_frames
from reader.frame_folder import read_folder
from reader.length import check_length
from reader.pkl import read_pickle
from reader.sampling import segment_indices, video_rng
from reader.transforms import crop_frame
from utils.storage.copies import on_this_machine


@dataclass
class VideoFacts:
    """Facts about a video that reading its clip brings to light."""

    num_frames: int = 0
    width: int = 0  # in pixels, as a player shows the video
    height: int = 0
    mirrored: bool = False


def read_clip(
    spec: ClipSpec,
    path: str,
    epoch: int = 0,
    index: int = 0,
    folder: Path | None = None,
    seen: VideoFacts | None = None,
    frames: int | None = None,
) -> tuple[np.ndarray, int | None]:
    """Return (clip uint8 [V * T, H, W, 3 * seglen], label or None) of one video; only a pickle brings its own label.

    Channel c of segment t is colour c % 3 of the segment's frame c // 3, as the original lays them out. Each frame is
    decoded and resized once for all V crops.

    folder: holds the copy of a remote video, or the copy for another decoder, while it is read; None: a temporary
        folder. seen: is filled on the way. frames: the number of frames in a folder of frames, from the list; None:
        all files in the folder.

    Raises VideoError, with the path and the reason, if the video cannot be read.
    """
    rng = None if spec.augment_seed is None else video_rng(spec.augment_seed, epoch, index)
    changed = rng is not None and (spec.rand_augment or spec.random_erasing)
    change = draw_changes(spec, epoch, index) if changed else None
    seen = seen or VideoFacts()
    chosen: dict[int, list[int]] = {}

    def choose(num_frames: int) -> list[int]:
        seen.num_frames = num_frames
        if num_frames not in chosen:  # drawing again would choose other frames
            chosen[num_frames] = chosen_frames(num_frames, spec, rng)
        return chosen[num_frames]

    def crop(frame: np.ndarray) -> np.ndarray:
        seen.height, seen.width = frame.shape[:2]
        own = copy.deepcopy(rng)  # a copy for each frame: all get the same window and the same mirroring
        crops = crop_frame(frame, spec, own)
        seen.mirrored = own is not None and spec.flip and bool(own.random() < 0.5)
        crops = crops[:, :, ::-1] if seen.mirrored else crops
        return change(crops[0])[None] if change else crops

    label = None
    try:
        with on_this_machine(path, folder) as local:
            if spec.max_seconds is not None:
                check_length(local, spec.max_seconds)
            if spec.frame_format == "frames":
                crops = read_folder(local, spec.filename_tmpl, frames, choose, crop)
            elif spec.frame_format == "pkl":
                crops, label = read_pickle(local, choose, crop)
            else:
                crops = read_frames(local, choose, spec.decoder, crop, folder)
    except (VideoError, OSError, MemoryError) as error:
        raise fault(path, error) from error
    return arranged(crops, spec), label


def cut_clip(spec: ClipSpec, frames: np.ndarray) -> np.ndarray:
    """Return the clip, uint8 `spec.shape`, of a video that is already decoded: uint8 [N, H, W, 3], RGB, N > 0.

    Frames are chosen, resized and cropped as in `read_clip`.
    """
    chosen = chosen_frames(len(frames), spec)
    return arranged(np.stack([crop_frame(frames[i], spec) for i in chosen]), spec)


def chosen_frames(num_frames: int, spec: ClipSpec, rng: np.random.Generator | None = None) -> list[int]:
    """Return the T * seglen indices of a clip's frames, see `segment_indices`."""
    how = {"frame_format": spec.frame_format, "sampling": spec.sampling, "rng": rng}
    return segment_indices(num_frames, spec.num_segments, spec.seglen, **how)


def arranged(crops: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """Return the clip, uint8 `spec.shape`, made of the crops of its frames, uint8 [T * seglen, P, H, W, 3].

    With ten crops P is 5: the mirrored crop follows each crop.
    """
    _, places, height, width, _ = crops.shape
    # [T * seglen, P, H, W, 3] -> [T, seglen, P, H, W, 3] -> [P, T, H, W, seglen, 3]
    crops = crops.reshape(spec.num_segments, spec.seglen, places, height, width, 3).transpose(2, 0, 3, 4, 1, 5)
    views = np.empty((places, spec.crops // places, *crops.shape[1:]), np.uint8)
    views[:, 0] = crops
    if views.shape[1] == 2:
        views[:, 1] = crops[:, :, :, ::-1]
    return views.reshape(spec.shape)

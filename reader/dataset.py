"""One video to one clip: choose, decode, crop. Plain data in and out, so that a reader process can do it."""

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reader.decode import VideoError, read_frames
from reader.length import check_length
from reader.pkl import read_pickle
from reader.sampling import segment_indices, video_rng
from reader.transforms import crop_frame
from utils.copies import on_this_machine


@dataclass(frozen=True)
class ClipSpec:
    """How a clip is cut from a video; the same for every video of a list."""

    num_segments: int
    seglen: int
    short_side: int
    crop_size: int
    frame_format: str = "mp4"
    sampling: str = "segment"
    resize: str = "pillow"
    keep_aspect_ratio: bool = False
    crops: int = 1
    multi_scale_crop: str | int = "none"
    decoder: str = "auto"
    # None: the central frames and crop. A number: random ones and a mirror, from (seed, epoch, index of the video).
    augment_seed: int | None = None
    # Longer videos are refused; None: any length is read.
    max_seconds: float | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[V * T, H, W, 3 * seglen] of every clip: all segments of one crop, then all of the next."""
        return self.crops * self.num_segments, self.crop_size, self.crop_size, 3 * self.seglen


@dataclass
class Seen:
    """What reading a clip finds out about its video on the way."""

    num_frames: int = 0
    width: int = 0  # in pixels, as a player shows it
    height: int = 0


def read_clip(
    spec: ClipSpec, path: str, epoch: int = 0, index: int = 0, folder: Path | None = None, seen: Seen | None = None
) -> tuple[np.ndarray, int | None]:
    """(clip uint8 [V * T, H, W, 3 * seglen], label or None) of one video; only a pickle brings its own label.

    Channel c of segment t is colour c % 3 of the segment's frame c // 3, as the original lays them out. Each frame is
    decoded and resized once for the V crops.

    folder: where a remote video is copied to for as long as it is read; None: a temporary one. seen: gets what it says.

    Raises:
        VideoError: the video cannot be read, with its path and the reason.
    """
    rng = None if spec.augment_seed is None else video_rng(spec.augment_seed, epoch, index)
    seen = seen or Seen()
    chosen: dict[int, list[int]] = {}

    def choose(num_frames: int) -> list[int]:
        seen.num_frames = num_frames
        if num_frames not in chosen:  # a second draw would choose other frames
            chosen[num_frames] = segment_indices(
                num_frames,
                spec.num_segments,
                spec.seglen,
                frame_format=spec.frame_format,
                sampling=spec.sampling,
                rng=rng,
            )
        return chosen[num_frames]

    def crop(frame: np.ndarray) -> np.ndarray:
        seen.height, seen.width = frame.shape[:2]
        return cropped(frame, spec, copy.deepcopy(rng))  # a copy for each frame: all get the same window

    label = None
    try:
        with on_this_machine(path, folder) as local:
            if spec.max_seconds is not None:
                check_length(local, spec.max_seconds)
            if spec.frame_format == "pkl":
                crops, label = read_pickle(local, choose, crop)
            else:
                crops = read_frames(local, choose, spec.decoder, crop)
    except VideoError as error:
        raise VideoError(path, error.reason) from error  # and not that of the copy
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    except MemoryError as error:
        raise VideoError(path, "it takes more memory than there is") from error
    return arranged(crops, spec), label


def cut_clip(spec: ClipSpec, frames: np.ndarray) -> np.ndarray:
    """The clip, uint8 `spec.shape`, of a video whose frames are there: uint8 [N, H, W, 3], RGB, N not 0.

    Its frames are chosen, resized and cropped as `read_clip` does with those of a file.
    """
    how = {"frame_format": spec.frame_format, "sampling": spec.sampling}
    chosen = segment_indices(len(frames), spec.num_segments, spec.seglen, **how)
    return arranged(np.stack([cropped(frames[i], spec) for i in chosen]), spec)


def cropped(frame: np.ndarray, spec: ClipSpec, rng: np.random.Generator | None = None) -> np.ndarray:
    """The crops of a frame uint8 [H, W, 3]: uint8 [P, crop_size, crop_size, 3], random with `rng`."""
    return crop_frame(
        frame,
        spec.short_side,
        spec.crop_size,
        keep_aspect_ratio=spec.keep_aspect_ratio,
        resize=spec.resize,
        crops=spec.crops,
        multi_scale_crop=spec.multi_scale_crop,
        rng=rng,
    )


def arranged(crops: np.ndarray, spec: ClipSpec) -> np.ndarray:
    """The clip, uint8 `spec.shape`, of the crops of its frames, uint8 [T * seglen, P, H, W, 3].

    With ten crops P is 5: each place is followed by its mirror.
    """
    _, places, height, width, _ = crops.shape
    # [T * seglen, P, H, W, 3] -> [T, seglen, P, H, W, 3] -> [P, T, H, W, seglen, 3]
    crops = crops.reshape(spec.num_segments, spec.seglen, places, height, width, 3).transpose(2, 0, 3, 4, 1, 5)
    views = np.empty((places, spec.crops // places, *crops.shape[1:]), np.uint8)
    views[:, 0] = crops
    if views.shape[1] == 2:
        views[:, 1] = crops[:, :, :, ::-1]
    return views.reshape(spec.shape)


__all__ = ["ClipSpec", "Seen", "VideoError", "cut_clip", "read_clip"]

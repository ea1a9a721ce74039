"""Make the pictures and videos for the trials, the same on every machine."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

SIZE = 64


def clips(videos: int, seed: int) -> np.ndarray:
    """Return uint8 [N, 1, SIZE, SIZE, 3], coarse random pictures."""
    coarse = np.random.default_rng(seed).integers(0, 256, (videos, 1, SIZE // 8, SIZE // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)


def write_video(path: Path, pictures: Iterable[np.ndarray], shape: Sequence[int], key_frames: int = 4) -> None:
    """Write pictures, uint8 [H, W, 3] of shape (H, W), as H.264 with a key frame every `key_frames` frames."""
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"g": str(key_frames)})
        stream.height, stream.width = shape
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))


def write_list(folder: Path, videos: int) -> Path:
    """Write this many videos of such pictures, and return the list that names them."""
    paths = [folder / f"{i}.mp4" for i in range(videos)]
    for path, picture in zip(paths, clips(videos, 3)):
        write_video(path, picture.repeat(4, axis=0), (SIZE, SIZE))
    filelist = folder / "videos.list"
    filelist.write_text("".join(f"{path}\n" for path in paths))
    return filelist

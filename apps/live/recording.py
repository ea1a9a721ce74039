"""Record a stream with its current classes drawn on it: H.264 in MP4 that can be played while it grows."""

import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av

from reader import sparse
from reader.videos import MADE_BY
from results.pages.annotated_video import add_pictures, put_picture
from results.pages.caption import Caption
from utils.errors import RunError

# All but the last second survives, however the process ends.
_FRAGMENTS = {"movflags": "empty_moov+default_base_moof", "frag_duration": "1000000", "flush_packets": "1"}


class Recording:
    """live.mp4, or live_2.mp4 and so on if it exists, from an earlier run or with pictures of another size."""

    def __init__(self, folder: Path, rate: float):
        """rate: frames a second."""
        self._folder, self._rate = folder, rate
        self._out: av.container.OutputContainer | None = None
        self._said: Sequence[dict] = ()
        self._caption: Caption | None = None

    def put(self, frame: av.VideoFrame, time: float, said: Sequence[dict]) -> None:
        """Write a frame, shown from `time` on in seconds of stream, with the latest classes."""
        width, height = (side - side % 2 for side in sparse.shown_size(frame))
        image = sparse.as_shown(frame, width, height).copy()
        try:
            if self._out is None or (self._stream.width, self._stream.height) != (width, height):
                self.close()
                path = next(path for path in self._paths() if not path.exists())
                self._out = av.open(f"file:{path}", "w", format="mp4", options=_FRAGMENTS)
                self._out.metadata["comment"] = MADE_BY
                self._stream = add_pictures(self._out, image, self._rate, Fraction(1))
                self._start, self._caption = time, None
            if said is not self._said or self._caption is None:
                self._said, self._caption = said, Caption(said, width, height) if said else None
            if self._caption is not None:
                self._caption.put(image)
            put_picture(self._out, self._stream, image, time - self._start)
        except (OSError, av.FFmpegError) as error:  # for example a full disk
            raise RunError(f"{self._folder}: live.mp4 cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Write the frames that the encoder still holds."""
        if self._out is not None:
            self._out.mux(self._stream.encode(None))
            self._out.close()
            self._out = None

    def _paths(self):
        yield self._folder / "live.mp4"
        yield from (self._folder / f"live_{number}.mp4" for number in itertools.count(2))

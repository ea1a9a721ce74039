"""Write extra files for each video on request: a timeline, a labelled video, heat maps.

timeline.csv, timeline.json  --window: the classes of each window of each video
NAME.vtt                     the same as subtitles for players
NAME.labelled.mp4            --save_video: the video with its classes drawn on it
explain/NAME_segT.png        --explain: where the network sees the class in segment T, counted from 1

NAME is the video's name without its suffix. A second video of the same name gets NAME_2.
"""

import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inference.label_kinds import LabelKind, Naming, told
from inference.rows import NONE_ID
from reader.build import check_is_of_videos, check_takes_windows, clip_spec
from reader.clip import middle_view
from reader.filelist import Entry
from reader.integrity import VideoError
from results.finished import Finished
from results.pages.frames import shown
from results.pages.timeline import cues_of, described, write_subtitles, write_timelines
from utils.config.flags import Flags
from utils.config.keys import InferConfig
from utils.errors import InputError, RunError, os_errors
from utils.log import progress_bar, say
from utils.packages import import_cv2
from utils.storage.files import write_atomic
from utils.storage.objects import file_name, is_remote

if TYPE_CHECKING:  # slow imports happen where they are used
    import paddle

    from inference.network import Network
    from reader.windows import Frames, WindowSpans

# --explain takes at most this many videos, because it writes a picture per segment.
MOST_EXPLAINED = 1000
# In bytes. A file name may have 255, including what is added to it.
_LONGEST_NAME = 180


def check_wanted(flags: Flags, section: InferConfig, num_videos: int) -> None:
    """Raise InputError if flags contradict each other or do not fit the videos."""
    if flags.stride and not flags.window:
        raise InputError(f"--stride={flags.stride:g}: needs --window=SECONDS")
    if flags.window and (flags.stride or 0) > flags.window:
        gap = f"--stride={flags.stride:g} is longer than --window={flags.window:g}"
        say(f"{gap}: the video between two windows is skipped; --stride={flags.window:g} covers all of it")
    if flags.window and flags.features:
        raise InputError("--features gives a row per video, --window answers for parts of it: give only one of them")
    for flag, wanted in (("--save_video", flags.save_video), ("--explain", flags.explain)):
        if wanted:
            import_cv2(flag)
    if flags.window:
        check_takes_windows("--window", section)
    if flags.save_video:
        check_is_of_videos("--save_video", section)
    if flags.explain and num_videos > MOST_EXPLAINED:
        raise InputError(f"--explain takes at most {MOST_EXPLAINED} videos, not {num_videos}")


def unique_names(paths: Sequence[str]) -> list[str]:
    """Return a name for each video's files: its own without suffix, numbered if several videos share it."""
    stems = [os.path.splitext(file_name(path) if is_remote(path) else os.path.basename(path))[0] for path in paths]
    stems = [_cut(stem) for stem in stems]
    taken, counts, names = {stem.casefold() for stem in stems}, Counter(), []
    for stem in stems:
        name, key = stem, stem.casefold()
        counts[key] += 1
        while counts[key] > 1 and (name := f"{stem}_{counts[key]}").casefold() in taken:
            counts[key] += 1
        taken.add(name.casefold())
        names.append(name)
    return names


def _cut(stem: str) -> str:
    while len(os.fsencode(stem)) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem


@dataclass
class PerVideo:
    """Write the files that the flags ask for, and keep what the prediction's page shows.

    After the prediction, each video is visited once more for everything together. A remote video is copied once, and
    the clip for heat maps and page is read once.
    """

    flags: Flags
    section: InferConfig
    kind: LabelKind
    entries: Sequence[Entry]
    folder: Path
    on_page: Container[int]  # positions of the videos that the page shows
    clip: np.ndarray | None  # of a single video, as the network saw it
    timelines: dict[int, list[dict]] = field(default_factory=dict)  # position -> records, see timeline.py
    frames: dict[int, np.ndarray] = field(default_factory=dict)  # position -> frames as a page shows them
    pictures: dict[int, list[Path]] = field(default_factory=dict)  # position -> heat maps
    places: str = ""  # the resolution of a heat map, such as 7x7
    strongest: dict[int, float | None] = field(default_factory=dict)  # position -> the highest value of its heat maps
    files: dict[int, list[Path]] = field(default_factory=dict)  # position -> subtitles and labelled video
    failed: bool = False  # whether something failed for the current video

    def heat_maps(self, positions: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (position, pictures uint8 [T, S, S, 3]) for the videos at `positions` that have heat maps."""
        from PIL import Image

        for position in positions:
            if position in self.pictures:
                yield position, np.stack([np.asarray(Image.open(path)) for path in self.pictures[position]])

    def make(self, network: "Network", naming: Naming, rows: Iterable[dict], kept: Finished | None = None) -> None:
        """Write the files of the videos in `rows`, in that order.

        naming: names the classes of a window.
        kept: the files that an interrupted run has made already. A failure is a line on the screen, and an InputError
        if there is only one video.
        """
        from reader.streams import StreamProcess
        from reader.windows import stream_clip, stream_windows
        from results.pages.annotated_video import label_video

        flags, spec, records = self.flags, clip_spec(self.section), []
        names = unique_names([entry.path for entry in self.entries])
        model = self._open_model(network) if flags.explain else None
        with StreamProcess(self.section.video_timeout, stream_windows, label_video, stream_clip) as process:
            for row in rows:
                if "error" in row:
                    records.append({"video": row["video"], "error": row["error"]})
                    continue
                ask, files = partial(process.results, row["video"]), self.folder / names[row["position"]]
                look = partial(ask, stream_clip, spec, process.folder, self.entries[row["position"]].frames)
                if kept and (found := kept.known(row)):
                    records += self._take_up(row, found)
                    if row["position"] in self.on_page:
                        self._look(row, look, None, files)
                    continue
                self.failed = False
                if flags.window:
                    records += self._write_timeline(network, naming, row, partial(ask, stream_windows, spec), files)
                if flags.save_video:
                    self._label(row, partial(ask, label_video), files)
                if model or row["position"] in self.on_page:
                    self._look(row, look, model, files)
                if kept and not self.failed:
                    self._note(kept, row)
        if flags.window:
            write_timelines(self.folder, records)
        if number := len(self.pictures):
            dark = sum(value is not None and value <= 0 for value in self.strongest.values())
            silent = f", in {dark} of them nothing speaks for the class" if dark else ""
            say(f"heat maps of {number} video{'s' * (number > 1)}, {self.places} places a frame{silent}: {self._maps}")

    def _take_up(self, row: dict, found: dict) -> list[dict]:
        """Return the records of a video whose files are all there."""
        position = row["position"]
        made = [self.folder / name for name in found["files"]]
        pictures = [path for path in made if path.suffix == ".png"]
        self.files[position] = [path for path in made if path.suffix != ".png"]
        if pictures:
            self.pictures[position], self.places = pictures, found["places"]
            self.strongest[position] = found.get("strongest")  # earlier versions did not note it
        if found["records"]:
            self.timelines[position] = found["records"]
        return found["records"]

    def _note(self, kept: Finished, row: dict) -> None:
        position = row["position"]
        made = self.files.get(position, []) + self.pictures.get(position, [])
        strongest = self.strongest.get(position)
        kept.note(row, made, records=self.timelines.get(position, []), places=self.places, strongest=strongest)

    @property
    def _maps(self) -> Path:
        return self.folder / "explain"

    def _open_model(self, network: "Network") -> "paddle.nn.Layer":
        """Return the model for heat maps. Raises InputError if it has none, RunError if the folder cannot be made."""
        model = network.model()
        if not hasattr(model, "feature_maps"):
            raise InputError(f"--explain: {type(model).__name__} has no feature maps to show")
        with os_errors(RunError, f"{self._maps}: cannot be created"):
            self._maps.mkdir(exist_ok=True)
        return model

    def _write_timeline(self, network: "Network", naming: Naming, row: dict, ask: Callable, files: Path) -> list[dict]:
        """Write the subtitles of a video, and return its records."""
        from results.long_video import see_windows

        video, window, stride = row["video"], self.flags.window, self.flags.stride or self.flags.window / 2
        try:
            seen = see_windows(network, self.section, naming, _with_bar(ask(window, stride), files.name))
        except VideoError as error:
            self._cannot("timeline", error)
            return [{"video": video, "error": error.reason}]
        records = [
            {"video": video, "start": round(start, 3), "end": round(end, 3), "predictions": said[0]}
            for start, end, said in seen
        ]
        self.timelines[row["position"]] = records
        write_subtitles(Path(f"{files}.vtt"), records, self.kind)
        self.files.setdefault(row["position"], []).append(Path(f"{files}.vtt"))
        say(
            f"timeline of {video}: {len(records)} window{'s' * (len(records) != 1)} of {window:g} s, every {stride:g} s"
        )
        if len(self.entries) == 1:
            say(described(records, self.kind))
        return records

    def _label(self, row: dict, ask: Callable, files: Path) -> None:
        windows = self.timelines.get(row["position"])
        cues = cues_of(windows) if windows else [(0, float("inf"), row["predictions"])]
        cues = [(start, end, list(told(self.kind, found))) for start, end, found in cues]
        path = Path(f"{files}.labelled.mp4")
        try:
            write_atomic(path, lambda target: _show_progress(ask(str(target), cues), path.name))
        except VideoError as error:
            self._cannot("labelled video", error)
        else:
            self.files.setdefault(row["position"], []).append(path)
            say(f"labelled video: {path}")

    def _look(self, row: dict, ask: Callable, model: "paddle.nn.Layer | None", files: Path) -> None:
        """Keep the frames that the network saw and, given a model, write heat maps of the class."""
        position = row["position"]
        try:
            [clip] = ask() if self.clip is None else [self.clip]
        except VideoError as error:
            self._cannot("heat maps" if model else "frames", error)
            return
        if position in self.on_page:
            self.frames[position] = shown(clip, self.section)
        if model:
            from results.pages.heatmaps import activation_maps, likeliest, overlays, write_png

            view = middle_view(clip, self.section)
            best = next((found["class_id"] for found in row["predictions"] if found["class_id"] != NONE_ID), None)
            maps = activation_maps(model, view, likeliest(model, view) if best is None else best)
            paths = [self._maps / f"{files.name}_seg{number}.png" for number in range(1, len(view) + 1)]
            for path, picture in zip(paths, overlays(view[..., :3], maps)):
                write_png(path, picture)
            self.pictures[position], self.places = paths, "x".join(map(str, maps.shape[1:]))
            self.strongest[position] = float(maps.max())

    def _cannot(self, what: str, error: VideoError) -> None:
        """Report what failed. Raises InputError if nothing else was asked for."""
        self.failed = True
        if len(self.entries) == 1:
            raise InputError(str(error))
        say(f"no {what} of {error}")


def _with_bar(parts: "Iterator[WindowSpans | Frames]", name: str) -> "Iterator[WindowSpans | Frames]":
    """Yield the parts, with a progress bar as soon as the windows are known."""
    from reader.windows import Frames

    bar = None
    try:
        for part in parts:
            if isinstance(part, Frames):
                bar.update(part.uses[-1][0][0] - bar.n)
            else:
                bar = bar or progress_bar(len(part), f"timeline of {name}")
            yield part
        bar.update(bar.total - bar.n)
    finally:
        if bar is not None:
            bar.close()


def _show_progress(shares: Iterator[float], name: str) -> None:
    """Have a labelled video written, with a progress bar in percent."""
    with progress_bar(100, name) as bar:
        for share in shares:
            bar.update(round(share) - bar.n)
        bar.update(100 - bar.n)

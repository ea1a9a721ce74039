"""What predict.py makes of each video on request, beside its row: a timeline, a labelled video, heat maps.

timeline.csv, timeline.json  --window: the classes of each window of each video
NAME.vtt                     the same for players, as subtitles
NAME.labelled.mp4            --save_video: the video with its classes drawn on it
explain/NAME_segT.png        --explain: where in segment T, from 1, the class speaks

NAME is the video's name without its suffix; of videos of one name the second is NAME_2.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reader.build import build_loader, clip_spec
from reader.filelist import Entry
from reader.integrity import VideoError
from reader.streams import StreamProcess
from reader.windows import Frames, Windows, stream_windows
from report.frames import middle_view
from report.timeline import cues_of, write_subtitles, write_timelines
from utils.config.flags import Flags
from utils.config.keys import InferConfig
from utils.config.loading import Config
from utils.errors import InputError, RunError
from utils.files import write_atomic
from utils.log import progress_bar, say
from utils.storage import file_name, is_remote

if TYPE_CHECKING:  # it imports paddle, whose environment open_network sets first
    from inference.network import Network

# Videos that --explain takes: it writes a picture per segment.
MOST_EXPLAINED = 1000
# Lines of a timeline on the screen.
_MOST_LINES = 20
# Of a file's name, in bytes; a name may have 255 with all that is put around it.
_LONGEST_NAME = 180


@dataclass
class Made:
    """What was made, for the page of the prediction."""

    timelines: dict[int, list[dict]] = field(default_factory=dict)  # by position: records, see report/timeline.py
    pictures: dict[int, list[Path]] = field(default_factory=dict)  # by position: heat maps

    def heat_maps(self, positions: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        """(position, pictures uint8 [T, S, S, 3]) of those of the videos at `positions` that have any."""
        from PIL import Image

        for position in positions:
            if position in self.pictures:
                yield position, np.stack([np.asarray(Image.open(path)) for path in self.pictures[position]])


def check_wanted(flags: Flags, section: InferConfig, num_videos: int) -> None:
    """Raises InputError where flags contradict each other, or the videos."""
    if flags.stride and not flags.window:
        raise InputError(f"--stride={flags.stride:g}: needs --window, the seconds of a window")
    if flags.window and flags.features:
        raise InputError("--features gives a row per video, --window answers for parts of it: give one of them")
    for flag, wanted in (("--window", flags.window), ("--save_video", flags.save_video)):
        if wanted and section.format == "pkl":
            raise InputError(f"{flag} needs videos, but INFER.format is pkl")
    if flags.window and section.seglen > 1:
        raise InputError(f"--window takes segments of one frame, but INFER.seglen is {section.seglen}")
    if flags.window and section.decoder not in ("auto", "pyav"):
        raise InputError(f"--window decodes with pyav, but INFER.decoder is {section.decoder}")
    if flags.explain and num_videos > MOST_EXPLAINED:
        raise InputError(f"--explain takes at most {MOST_EXPLAINED} videos, not {num_videos}")


def make_wanted(
    flags: Flags,
    config: Config,
    section: InferConfig,
    network: "Network",
    classes: Sequence[str],
    entries: Sequence[Entry],
    folder: Path,
    rows: Iterable[dict],
) -> Made:
    """Writes into the folder what the flags ask for, of the videos of `rows`, which are iterated over several times.

    What cannot be made of a video is a line on the screen; of the only one, an InputError.
    """
    made = Made()
    if not (flags.window or flags.save_video or flags.explain):
        return made
    names = unique_names([entry.path for entry in entries])
    if flags.window:
        made.timelines = _write_timelines(flags, section, network, classes, names, folder, rows)
    if flags.save_video:
        _label_videos(section, names, folder, rows, made.timelines)
    if flags.explain:
        made.pictures = _explain(config, section, network, entries, names, folder, rows)
    return made


def unique_names(paths: Sequence[str]) -> list[str]:
    """A name for each video's files: its own without suffix, with a number behind it where there are several."""
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


def _write_timelines(
    flags: Flags,
    section: InferConfig,
    network: "Network",
    classes: Sequence[str],
    names: Sequence[str],
    folder: Path,
    rows: Iterable[dict],
) -> dict[int, list[dict]]:
    from inference.timeline import see_windows
    from metrics.report import top_predictions

    stride = flags.stride or flags.window / 2
    name = partial(top_predictions, names=classes, k=section.topk)
    records, timelines = [], {}
    with StreamProcess(stream_windows, section.video_timeout) as process:
        for row in rows:
            video = row["video"]
            if "error" in row:
                records.append({"video": video, "error": row["error"]})
                continue
            parts = process.results(video, clip_spec(section), flags.window, stride)
            try:
                seen = see_windows(network, section, name, _with_bar(parts, names[row["position"]]))
            except VideoError as error:
                _cannot("timeline", video, error.reason, len(names))
                records.append({"video": video, "error": error.reason})
                continue
            of_video = [
                {"video": video, "start": round(start, 3), "end": round(end, 3), "predictions": said[0]}
                for start, end, said in seen
            ]
            timelines[row["position"]] = of_video
            records += of_video
            write_subtitles(folder / f"{names[row['position']]}.vtt", of_video)
            say(f"timeline of {video}: {len(of_video)} windows of {flags.window:g} s, every {stride:g} s")
            if len(names) == 1:
                say(_described(of_video))
    write_timelines(folder, records)
    return timelines


def _with_bar(parts: Iterator[Windows | Frames], name: str) -> Iterator[Windows | Frames]:
    """The same, with a bar on the screen from the moment that the windows are known."""
    bar = None
    try:
        for part in parts:
            if isinstance(part, Windows):
                bar = bar or progress_bar(len(part.spans), f"timeline of {name}")
            else:
                bar.update(part.uses[-1][0][0] - bar.n)
            yield part
        bar.update(bar.total - bar.n)
    finally:
        if bar is not None:
            bar.close()


def _described(records: Sequence[dict]) -> str:
    """Lines with the best class from one moment to another."""
    best = groupby(cues_of(records), key=lambda cue: cue[2][0]["label"])
    spans = [(label, cues[0][0], cues[-1][1]) for label, cues in ((label, list(cues)) for label, cues in best)]
    lines = [f"  {start:8.1f} to {end:.1f} s  {label}" for label, start, end in spans[:_MOST_LINES]]
    if len(spans) > _MOST_LINES:
        lines.append(f"  ... {len(spans) - _MOST_LINES} more")
    return "\n".join(lines)


def _label_videos(
    section: InferConfig, names: Sequence[str], folder: Path, rows: Iterable[dict], timelines: dict[int, list[dict]]
) -> None:
    from report.labelled_video import label_video

    with StreamProcess(label_video, section.video_timeout) as process:
        for row in rows:
            position, video = row["position"], row["video"]
            if "error" in row:
                continue
            cues = cues_of(timelines[position]) if timelines.get(position) else [(0, float("inf"), row["predictions"])]
            path = folder / f"{names[position]}.labelled.mp4"
            try:
                write_atomic(path, partial(_label, process, video, cues))
            except VideoError as error:
                _cannot("labelled video", video, error.reason, len(names))
            else:
                say(f"labelled video: {path}")


def _label(process: StreamProcess, video: str, cues: Sequence[tuple], target: Path) -> None:
    for _ in process.results(video, str(target), cues):
        pass  # it has none


def _explain(
    config: Config,
    section: InferConfig,
    network: "Network",
    entries: Sequence[Entry],
    names: Sequence[str],
    folder: Path,
    rows: Iterable[dict],
) -> dict[int, list[Path]]:
    from report.heatmaps import activation_maps, overlays, write_png

    model = network.model()
    if not hasattr(model, "feature_maps"):
        raise InputError(f"--explain: {config.model.name} has no feature maps to show")
    folder = folder / "explain"
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be created: {error.strerror}") from None
    readable = [row for row in rows if "error" not in row]
    few, pictures = [entries[row["position"]] for row in readable], {}
    with build_loader(config, section, few, needs_label=False, batch_size=1) as loader:
        for batch in loader.batches() if few else ():
            for index, reason in batch.unreadable:
                _cannot("heat maps", few[index].path, reason, len(names))
            for index, clip in zip(batch.indices, batch.frames):
                row, view = readable[index], middle_view(clip, section)
                maps = activation_maps(model, view, row["predictions"][0]["class_id"])
                name = names[row["position"]]
                paths = [folder / f"{name}_seg{number}.png" for number in range(1, len(view) + 1)]
                for path, picture in zip(paths, overlays(view[..., :3], maps)):
                    write_png(path, picture)
                pictures[row["position"]] = paths
    if pictures:
        places = "x".join(map(str, maps.shape[1:]))
        say(f"heat maps of {len(pictures)} video{'s' * (len(pictures) > 1)}, {places} places a frame: {folder}")
    return pictures


def _cannot(what: str, video: str, reason: str, num_videos: int) -> None:
    """Says so; raises InputError where nothing else was asked for."""
    if num_videos == 1:
        raise InputError(f"{video}: {reason}")
    say(f"no {what} of {video}: {reason}")

"""Check what predict.py was asked for before paddle and weights are loaded, and write its pages."""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inference.api import of_one_video
from inference.label_kinds import KINDS, ONE, LabelKind, Naming
from reader.build import read_section_list
from reader.class_names import read_labels
from reader.filelist import Entry, FileList
from reader.integrity import VideoError, check_file
from reader.videos import videos_at
from results.fingerprint import fingerprint
from results.finished import Finished
from results.list_results import check_list_flags
from results.opening import OpenedRun, opened
from results.pages.extras import wants_report
from results.pages.frames import frames_seen, shown, shown_positions
from results.pages.per_video import PerVideo, check_wanted
from results.pages.prediction import ListSums, write_prediction_page
from results.pages.video import write_video_page
from results.row_checks import PREDICTION_FITS, Fits
from utils.config.flags import Flags
from utils.config.keys import InferConfig
from utils.config.loading import Config
from utils.config.strict_yaml import one_line
from utils.errors import InputError, RunError
from utils.processes.ranks import World
from utils.storage.files import check_save_dir, written_to
from utils.storage.objects import is_remote

if TYPE_CHECKING:  # slow imports happen where they are used
    from inference.finding import FoundNetwork
    from inference.network import Network


@dataclass(frozen=True)
class Task:
    """The videos, how they are read, and the names of the classes by id."""

    flags: Flags
    config: Config
    section: InferConfig  # INFER as it applies to these videos
    entries: FileList
    names: Sequence[str]
    single: bool  # a single video: its errors end the run instead of becoming a row
    report: bool  # whether to write report.html

    @property
    def folder(self) -> Path:
        return written_to(self.flags.save_dir)

    def fingerprint(self, network: "Network", num_ranks: int = 1) -> dict[str, object]:
        """Return the run's fingerprint. network: anything with `weights`, `thresholds` and so on."""
        what = self.config, self.section, network, self.names, self.entries, num_ranks
        more = {"threshold": self.flags.threshold} if self.flags.threshold else {}
        if network.thresholds:
            more["thresholds"] = hashlib.sha256(json.dumps(network.thresholds).encode()).hexdigest()
        return fingerprint("predict", *what, features=self.flags.features, **more)

    @property
    def data(self) -> str:
        """Return the videos in words: 80 videos of FILE."""
        where = self.section.video_path or self.section.filelist
        return where if self.single else f"{len(self.entries)} video{'s' * (len(self.entries) > 1)} of {where}"

    @property
    def kind(self) -> LabelKind:
        """Return the kind of labels, one or many a video."""
        return KINDS[self.config.model.labels]

    def naming(self, network: "Network") -> Naming:
        """Return the function that names the classes of a video."""
        return self.kind.naming(self.names, self.section.topk, self.flags.threshold, network.thresholds)

    def opened(
        self, world: World, device: str, finding: "Future[FoundNetwork] | None" = None
    ) -> AbstractContextManager[OpenedRun]:
        """Return the context of the task's readers and network."""
        how = self.flags, self.config, self.section, self.entries, self.data
        return opened(*how, False, world, device, finding)

    def fits(self) -> Fits:
        """Return the check for prediction rows."""
        how = self.names, self.section.topk, self.entries, self.flags.threshold
        return PREDICTION_FITS[self.config.model.labels](*how)

    def show(
        self, rows: Iterable[dict], protocol: str, network: "Network | None" = None, clip: np.ndarray | None = None
    ) -> None:
        """Write the requested files for each video, and the page. The rows are iterated several times.

        network: the one in this process, or None if nothing needs it. clip: the frames of a single video as the network
        saw them; for lists, some videos are read again.
        """
        flags, section = self.flags, self.section
        wanted = network is not None and (flags.window or flags.save_video or flags.explain)
        on_page = {row["position"] for row in ListSums(rows, self.kind).pictured} if wanted and self.report else ()
        made = PerVideo(flags, section, self.kind, self.entries, self.folder, on_page, clip)
        if wanted:
            how = {name: getattr(flags, name) for name in ("window", "stride", "save_video", "explain")}
            kept = None if self.single else Finished(self.folder, self.fingerprint(network) | how)
            made.make(network, self.naming(network), rows, kept)
        if self.report:
            listed = section.video_path or section.filelist
            about = {"videos": listed, "protocol": protocol, "configuration": self.config.dump()}
            path = self.folder / "report.html"
            beside = None if is_remote(flags.save_dir) else self.folder
            if self.single:
                [row] = rows
                maps = [clip_maps[i] for _, clip_maps in made.heat_maps([0]) for i in shown_positions(section)]
                made_of = made.timelines.get(0, ()), maps, made.strongest.get(0), made.files.get(0, ())
                write_video_page(path, row, about, shown(clip, section), *made_of, beside, self.kind)
                return
            frames = partial(frames_seen, self.config, section, self.entries)
            if made.frames:
                frames = lambda positions: made.frames.items()  # noqa: E731
            pictures = frames, made.timelines, made.heat_maps, made.strongest
            write_prediction_page(path, rows, about, *pictures, beside, self.kind)


def read_task(flags: Flags, config: Config) -> Task:
    """Read labels and list. Raises InputError for missing, malformed or contradictory input."""
    section = config.infer
    report = wants_report(flags.report)
    check_save_dir(flags.save_dir)
    names = read_labels(section.kinetics_labels, config.model.num_classes)
    path = section.video_path
    if path:
        _check_is_video(path)
        section = of_one_video(section, path)
    is_folder = path and section.format == "frames"
    entries = None if is_folder else videos_at(path) if path else read_section_list(config, section, needs_label=False)
    single = entries is None
    if single:
        try:
            if not is_folder:
                check_file(path)
        except VideoError as error:
            raise InputError(str(error)) from None
        entries = FileList([Entry(path)])
    check_wanted(flags, section, len(entries))
    check_list_flags(flags, single)
    return Task(flags, config, section, entries, names, single, report)


def _check_is_video(path: str) -> None:
    """Raise InputError that says what to type, for an address or a list."""
    if re.match(r"(https?|rtsps?|rtmp|udp)://", path):
        raise InputError(
            f"--video_path={one_line(path)}: an address, not a file: watch it with python live.py --source=ADDRESS, or "
            "download the video first"
        )
    if path.lower().endswith((".list", ".txt", ".csv", ".lst")) and os.path.isfile(path):
        raise InputError(f"--video_path={path}: a list of videos, not a video: give it by --filelist={path}")


def check_readable(unreadable: int, total: int, strict: bool) -> None:
    """Raise RunError if no video could be read, or if strict and one could not."""
    if unreadable == total or strict and unreadable:
        raise RunError(f"{unreadable} of {total} videos could not be read; the results list them with the reasons")


def describe_in_list(row: dict, kind: LabelKind = ONE) -> str:
    """Return the log line of one video in a list: its name, its classes and their probabilities."""
    if "error" in row:
        return describe(row)
    named = (f"{found['label']} {100 * found['probability']:.1f}%" for found in kind.answer(row["predictions"]))
    return f"{row['video']}: {', '.join(named)}"


def describe(row: dict) -> str:
    """Return the log lines of one video: its name, then a line per class with its probability."""
    if "error" in row:
        return f"{row['video']}: unreadable: {row['error']}"
    lines = [f"  {p['probability']:.6f}  {p['label']}" for p in row["predictions"]]
    return "\n".join([f"{row['video']}:", *lines])

"""What predict.py was asked for, checked before paddle and weights are loaded; and the pages it leaves."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from inference.api import of_one_video
from metrics.report import read_labels
from predicting.results import check_list_flags
from reader.build import read_section_list
from reader.filelist import Entry, FileList
from reader.integrity import VideoError, check_file
from reader.videos import videos_at
from report.extras import wants_report
from report.frames import frames_seen
from report.per_video import Made, check_wanted, make_wanted
from report.prediction import write_prediction_page
from utils.config.flags import Flags
from utils.config.keys import InferConfig
from utils.config.loading import Config
from utils.errors import InputError
from utils.files import check_save_dir, written_to

if TYPE_CHECKING:  # it imports paddle, whose environment open_network sets first
    from inference.network import Network


@dataclass(frozen=True)
class Task:
    """The videos, how they are read, and the names of the classes by id."""

    flags: Flags
    config: Config
    section: InferConfig  # INFER as it holds for these videos
    entries: FileList
    names: Sequence[str]
    single: bool  # one video, of which a mistake is the user's and not a row
    report: bool  # whether report.html is wanted

    @property
    def folder(self) -> Path:
        """Where the files go."""
        return written_to(self.flags.save_dir)

    def show(self, rows: Iterable[dict], protocol: str, network: "Network | None" = None) -> None:
        """Writes what is made of each video on request, and the page; rows are iterated over several times.

        network: of this process; None where there is none, and nothing to make with it.
        """
        made, section, entries = Made(), self.section, self.entries
        if network is not None:
            made = make_wanted(self.flags, self.config, section, network, self.names, entries, self.folder, rows)
        if self.report:
            listed = section.video_path or section.filelist
            about = {"videos": listed, "how": protocol, "configuration": self.config.dump()}
            frames = partial(frames_seen, self.config, section, entries)
            shown = frames, made.timelines, made.heat_maps
            write_prediction_page(self.folder / "report.html", rows, about, *shown)


def read_task(flags: Flags, config: Config) -> Task:
    """Reads labels and list. Raises InputError for what is missing, malformed or contradicts itself."""
    section = config.infer
    report = wants_report(flags.report)
    check_save_dir(flags.save_dir)
    names = read_labels(section.kinetics_labels, config.model.num_classes)
    path = section.video_path
    if path:
        section = of_one_video(section, path)
    entries = videos_at(path) if path else read_section_list(config, section, needs_label=False)
    single = entries is None
    if single:
        try:
            check_file(path)
        except VideoError as error:
            raise InputError(str(error)) from None
        entries = FileList([Entry(path)])
    check_wanted(flags, section, len(entries))
    check_list_flags(flags, single)
    return Task(flags, config, section, entries, names, single, report)


def describe(row: dict) -> str:
    """The log lines of one video: its name, then a line per class with its probability."""
    if "error" in row:
        return f"{row['video']}: unreadable: {row['error']}"
    lines = [f"  {p['probability']:.6f}  {p['label']}" for p in row["predictions"]]
    return "\n".join([f"{row['video']}:", *lines])

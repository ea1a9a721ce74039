"""int8 on the CPU: NNCF rounds a graph with the help of some videos; other videos compare it with float32."""

import contextlib
import hashlib
import io
import json
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from inference.runtime import openvino
from reader.build import build_loader, clip_spec
from reader.clip import middle_view
from reader.filelist import Entry, read_list
from utils.config.keys import EngineConfig, TestConfig
from utils.config.loading import Config
from utils.errors import InputError, RunError, last_line
from utils.log import progress_bar, say
from utils.packages import import_extra
from utils.storage.objects import StorageError, file_size, is_remote
from utils.storage.shelf import digest
from utils.storage.stamps import signature

FRAMES = 300  # to round by, as OpenVINO's guide advises
COMPARED = 100  # other videos to compare on, at most
Answer = Callable[[np.ndarray], np.ndarray]  # a clip uint8 [T, H, W, C] -> probabilities [K]


@dataclass(frozen=True)
class Agreement:
    """The changes that int8 makes to the probabilities of videos that the graph was not rounded by."""

    rounded_by: int  # videos used for rounding
    videos: int  # videos compared
    equal: int  # compared videos that keep their likeliest class
    largest: float  # the largest change of a probability
    mean: float  # the mean change

    def __str__(self) -> str:
        changes = f"its probabilities change by {self.largest:.2g} at most, {self.mean:.2g} in the mean"
        return f"rounded by {self.rounded_by} videos; of {self.videos} others {self.equal} keep their top-1, {changes}"


class Calibration:
    """The videos of a list by which a section's graph is rounded, and others on which it is compared."""

    def __init__(self, config: Config, section: EngineConfig):
        """Choose the videos. Raise InputError if there is no list, or too few videos in it."""
        name = self._name = "TEST" if isinstance(section, TestConfig) else "INFER"
        if not section.calibration:
            raise InputError(
                f"--precision=int8 needs {name}.calibration, a list of videos (no labels needed) to calibrate with: "
                f"--set {name}.calibration=FILE"
            )
        self._config, self._section = config, section
        how = {"frame_format": section.format, "prefix": section.data_prefix}
        known = read_list(section.calibration, num_classes=2**62, needs_label=False, **how)
        if len(known) < 2:
            raise InputError(f"{section.calibration}: int8 needs two videos or more, to calibrate with and to compare")
        wanted = min(math.ceil(FRAMES / section.seg_num), math.ceil(len(known) / 2))
        self.entries = _spread(known, min(len(known), wanted + COMPARED))
        self.used = set(_spread(range(len(self.entries)), wanted))  # positions in entries

    def digest(self) -> str:
        """Return the SHA-256 of all that the rounding depends on: the videos' contents, and how clips are cut."""
        spec = asdict(clip_spec(self._section))
        files = [_fingerprint(entry) for entry in self.entries]
        return hashlib.sha256(json.dumps([spec, files, sorted(self.used)]).encode()).hexdigest()

    def checked(self, agreement: Agreement) -> Agreement:
        """Return the agreement. Raise InputError if fewer videos keep their top-1 than the section demands."""
        section, name = self._section, self._name
        share = agreement.equal / agreement.videos
        if share < section.int8_agreement:
            raise InputError(
                f"--precision=int8 is refused: {agreement}; {share:.1%} is below {name}.int8_agreement "
                f"{section.int8_agreement:g}: take float32 or bfloat16, give other videos by {name}.calibration, or "
                f"accept it by --set {name}.int8_agreement={math.floor(100 * share) / 100:g}"
            )
        return agreement

    def clips(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return (clips to round by, clips to compare), uint8 [T, H, W, C] each, of the middle crop.

        Raise InputError if either is empty because no video can be read.
        """
        clips: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        unreadable = []
        with (
            build_loader(self._config, self._section, self.entries, needs_label=False, batch_size=1) as loader,
            progress_bar(len(self.entries), "int8: reading") as bar,
        ):
            for batch in loader.batches():
                for index, clip in zip(batch.indices, batch.frames):
                    clips[index not in self.used].append(middle_view(clip, self._section))
                unreadable += batch.unreadable
                bar.update(len(batch.indices) + len(batch.unreadable))
        for index, reason in unreadable:
            say(f"unreadable, not used for int8: {self.entries[index].path}: {reason}")
        if not all(clips):
            raise InputError(f"{self._section.calibration}: too few of its videos can be read for int8")
        return clips


def quantise(graph: openvino.Model, clips: Sequence[np.ndarray]) -> openvino.Model:
    """Return the graph rounded by clips, one call each. Raise InputError if nncf is missing, RunError if it fails."""
    os.environ.setdefault("NNCF_CI", "1")  # switches off NNCF's telemetry
    nncf = import_extra("nncf", "--precision=int8", "requirements-int8.txt")
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # hides NNCF's own progress bars
        try:
            data = nncf.Dataset(_Shown(clips))
            # Weights of 7 bits: a processor without VNNI adds two products in 16 bits, which must not overflow. Then
            # all processors give the same sums, however many clips they get at once.
            advanced = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
            preset = nncf.QuantizationPreset.PERFORMANCE
            return nncf.quantize(graph, data, preset=preset, subset_size=len(clips), advanced_parameters=advanced)
        except RuntimeError as error:
            raise RunError(f"nncf cannot round the network: {last_line(error)}") from None


def compare(exact: Answer, rounded: Answer, clips: Sequence[np.ndarray], rounded_by: int) -> Agreement:
    """Return how well the two answers to each of the clips, uint8 [T, H, W, C], agree."""
    equal, changes = 0, []
    with progress_bar(len(clips), "int8: comparing") as bar:
        for clip in clips:
            ours, theirs = rounded(clip), exact(clip)
            equal += int(ours.argmax() == theirs.argmax())
            changes.append(np.abs(ours - theirs))
            bar.update()
    return Agreement(rounded_by, len(clips), equal, float(np.max(changes)), float(np.mean(changes)))


class _Shown:
    """Clips that show a progress bar at each pass over them."""

    def __init__(self, clips: Sequence[np.ndarray]):
        self._clips = clips

    def __iter__(self) -> Iterator[np.ndarray]:
        with progress_bar(len(self._clips), "int8: rounding") as bar:
            for clip in self._clips:
                yield clip
                bar.update()


def _spread(items: Sequence, number: int) -> list:
    """Return `number` of the items, evenly spaced from the first to the last."""
    return [items[i] for i in np.linspace(0, len(items) - 1, number).round().astype(int)]


def _fingerprint(entry: Entry) -> list:
    path = entry.path
    if entry.frames:
        return [path, entry.frames, signature(path)]
    try:
        return [path, file_size(path)] if is_remote(path) else [digest(Path(path))]
    except (OSError, StorageError):
        return [path, "unreadable"]

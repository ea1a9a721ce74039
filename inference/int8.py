"""int8 on the CPU: a graph that NNCF rounds by what it computes of some videos, compared with float32 on others."""

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
from utils.errors import InputError, RunError
from utils.log import progress_bar, say
from utils.packages import import_extra
from utils.storage.objects import StorageError, file_size, is_remote
from utils.storage.shelf import digest
from utils.storage.stamps import signature

FRAMES = 300  # to round by; as many as OpenVINO's guide advises
COMPARED = 100  # other videos, at most
Answer = Callable[[np.ndarray], np.ndarray]  # a clip uint8 [T, H, W, C] -> probabilities [K]


@dataclass(frozen=True)
class Agreement:
    """What int8 changes about the probabilities of videos that the graph was not rounded by."""

    rounded_by: int  # videos
    videos: int  # compared
    equal: int  # of these, those that keep their likeliest class
    largest: float  # change of a probability
    mean: float

    def __str__(self) -> str:
        changes = f"its probabilities change by {self.largest:.2g} at most, {self.mean:.2g} in the mean"
        return f"rounded by {self.rounded_by} videos; of {self.videos} others {self.equal} keep their top-1, {changes}"


class Calibration:
    """The videos of a list that a section's graph is rounded by, and others that it is compared on."""

    def __init__(self, config: Config, section: EngineConfig):
        """Raise InputError where there is no such list, or too few videos in it."""
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
        """Return the SHA-256 of what the rounding depends on: the videos' contents, and how their clips are cut."""
        spec = asdict(clip_spec(self._section))
        files = [_fingerprint(entry) for entry in self.entries]
        return hashlib.sha256(json.dumps([spec, files, sorted(self.used)]).encode()).hexdigest()

    def checked(self, agreement: Agreement) -> Agreement:
        """Return it. Raise InputError where fewer videos keep their top-1 than the section demands."""
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

        Raise InputError where either is empty, as no video can be read.
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
    """Return the graph rounded by clips, each a call of it. Raise InputError where nncf is missing, RunError."""
    os.environ.setdefault("NNCF_CI", "1")  # else it tells its makers of its use
    nncf = import_extra("nncf", "--precision=int8", "requirements-int8.txt")
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # of its own bars
        try:
            data = nncf.Dataset(_Shown(clips))
            return nncf.quantize(graph, data, preset=nncf.QuantizationPreset.PERFORMANCE, subset_size=len(clips))
        except RuntimeError as error:
            raise RunError(f"nncf cannot round the network: {str(error).strip().splitlines()[-1]}") from None


def compare(exact: Answer, rounded: Answer, clips: Sequence[np.ndarray], rounded_by: int) -> Agreement:
    """Return how the two answers to each of the clips, uint8 [T, H, W, C], agree."""
    equal, changes = 0, []
    with progress_bar(len(clips), "int8: comparing") as bar:
        for clip in clips:
            ours, theirs = rounded(clip), exact(clip)
            equal += int(ours.argmax() == theirs.argmax())
            changes.append(np.abs(ours - theirs))
            bar.update()
    return Agreement(rounded_by, len(clips), equal, float(np.max(changes)), float(np.mean(changes)))


class _Shown:
    """Clips with a bar for each time that they are gone through."""

    def __init__(self, clips: Sequence[np.ndarray]):
        self._clips = clips

    def __iter__(self) -> Iterator[np.ndarray]:
        with progress_bar(len(self._clips), "int8: rounding") as bar:
            for clip in self._clips:
                yield clip
                bar.update()


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities float64 [K]."""
    e = np.exp(logits.astype(np.float64) - logits.max())
    return e / e.sum()


def _spread(items: Sequence, number: int) -> list:
    """So many of the items, evenly spaced from the first to the last."""
    return [items[i] for i in np.linspace(0, len(items) - 1, number).round().astype(int)]


def _fingerprint(entry: Entry) -> list:
    path = entry.path
    if entry.frames:
        return [path, entry.frames, signature(path)]
    try:
        return [path, file_size(path)] if is_remote(path) else [digest(Path(path))]
    except (OSError, StorageError):
        return [path, "unreadable"]

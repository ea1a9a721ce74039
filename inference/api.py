"""The call for notebooks, on which predict.py and serve.py are built: a video in, its likeliest classes out.

from inference.api import Classifier

classify = Classifier("configs/tsn.yaml", "TSN.pdparams")
classify("clip.mp4")["predictions"][0]["label"]
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np

from inference.start import set_environment
from metrics.report import read_labels, top_predictions
from metrics.rows import compute_rows, predictions_of
from reader.build import clip_spec
from reader.dataset import cut_clip
from reader.filelist import Entry
from reader.loader import Batch, Loader
from reader.workers import WorkerPool
from utils.cli import quieten_paddle
from utils.config.keys import InferConfig
from utils.config.loading import Config, load_config
from utils.errors import InputError

if TYPE_CHECKING:  # it imports paddle, whose environment is set here first
    from inference.network import Network

PICKLES = (".pkl", ".pickle")


class Classifier:
    """A network with the names of its classes: a path or frames in, what predict.py writes of a video out.

    A context manager; leaving it, or `close`, ends its reader process. One thread at a time may call it.
    """

    def __init__(self, config: str | os.PathLike | Config, weights: str | os.PathLike = "", *, num_videos: int = 1):
        """
        Args:
            config: the YAML file, whose section INFER holds here as for predict.py.
            weights: file or folder of weights; '': as the configuration says.
            num_videos: as many are to be expected; many are worth a process for each core.

        Raises InputError: the configuration, the weights or the label list is not to be had or does not fit; or paddle
        was imported before, without what `set_environment` sets for the CPU's engine.
        """
        if not isinstance(config, Config):
            config = load_config(config, {"INFER.weights": os.fspath(weights) or None})
        elif weights:
            config = replace(config, infer=replace(config.infer, weights=os.fspath(weights)))
        names = read_labels(config.infer.kinetics_labels, config.model.num_classes)
        quieten_paddle()
        set_environment()

        from inference.network import load_network
        from utils.processes.device import choose_device

        device = choose_device(config.infer.use_gpu, config.demands_gpu)
        if device == "cpu":
            _check_graph_format()
        self._hold(config, config.infer, names, load_network(config, config.infer, device, num_videos))

    @classmethod
    def of(cls, config: Config, section: InferConfig, names: Sequence[str], network: "Network") -> Self:
        """One of a network that is open already, as each rank of predict.py has it. names: of the classes, by id."""
        classifier = cls.__new__(cls)
        classifier._hold(config, section, names, network)
        return classifier

    def _hold(self, config: Config, section: InferConfig, names: Sequence[str], network: "Network") -> None:
        self.config, self.section, self.names, self.network = config, section, names, network
        self._readers: dict[str, WorkerPool] = {}  # by format

    def __call__(self, video: str | os.PathLike | np.ndarray) -> dict:
        """{"video": path, "predictions": [{"class_id", "label", "probability"}, ...]} with the likeliest class first.

        video: a path, or frames uint8 [N, H, W, 3] in RGB, N of any number but 0: of these, too, the configuration's
        protocol chooses T, resizes and crops them. Their "video" is None.

        Raises:
            VideoError: the video cannot be read; it has `path` and `reason`.
            InputError: it is no path and no such frames.
        """
        if isinstance(video, (str, os.PathLike)):
            path = os.fspath(video)
            clip, _ = self._reader(path).read(path)
        else:
            path, clip = None, cut_clip(clip_spec(replace(self.section, format="mp4")), _checked(video))
        return {"video": path, "predictions": self.named(self.network(clip[None]))[0]}

    def named(self, logits: np.ndarray) -> list[list[dict]]:
        """The likeliest classes of each video of logits float32 [N, K], best first: class_id, label, probability."""
        return top_predictions(logits, self.names, self.section.topk)

    def rows(
        self,
        loader: Loader,
        entries: Sequence[Entry],
        order: Sequence[int],
        keep: Callable[[Batch, np.ndarray], None] | None = None,
    ) -> Iterator[list[dict]]:
        """The rows of each batch of a list, see metrics/rows.py:compute_rows."""
        values = predictions_of(self.names, self.section.topk)
        return compute_rows(self.network, loader, entries, values, order, keep)

    def close(self) -> None:
        """Ends the reader process; the next call would start another one."""
        for readers in self._readers.values():
            readers.close()
            readers.reap()
        self._readers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # it may not have been made, or the interpreter is on its way out
            self.close()

    def _reader(self, path: str) -> WorkerPool:
        section = of_one_video(self.section, path)
        if section.format not in self._readers:
            self._readers[section.format] = WorkerPool(clip_spec(section), 1, section.video_timeout)
        return self._readers[section.format]


def of_one_video(section: InferConfig, path: str) -> InferConfig:
    """The section for a path: as in the original a video, whatever the lists hold, unless it is called a pickle."""
    return section if path.endswith(PICKLES) else replace(section, format="mp4")


def _checked(frames: object) -> np.ndarray:
    if not isinstance(frames, np.ndarray):
        raise InputError(f"expected a path or an array of frames uint8 [N, H, W, 3], not {type(frames).__name__}")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise InputError(f"expected frames uint8 [N, H, W, 3] in RGB, not {frames.dtype} {list(frames.shape)}")
    return frames


def _check_graph_format() -> None:
    """Raises InputError where paddle was imported before, with another graph format than the CPU's engine needs."""
    if sys.modules["paddle"].framework.use_pir_api():
        raise InputError(
            "paddle was imported before the Classifier was made: make it first, or start Python with "
            "FLAGS_enable_pir_api=0 in its environment"
        )

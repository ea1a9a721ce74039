"""The call for notebooks and programs: a video in, its likeliest classes out. serve.py and live.py use it, too.

from inference.api import Classifier

classify = Classifier("configs/tsn.yaml", "TSN.pdparams")
classify("clip.mp4")["predictions"][0]["label"]
"""

import os
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NotRequired, Self, TypedDict, overload

import numpy as np

from inference.given import EXPECTED, Video, opened_video
from inference.label_kinds import KINDS
from inference.several_networks import check_same_classes, check_same_labels, mean_logits, mean_thresholds
from reader.build import clip_spec
from reader.class_names import read_labels
from reader.integrity import VideoError
from reader.workers import WorkerPool
from utils.cli import quieten_paddle
from utils.config.flags import config_of_run
from utils.config.keys import InferConfig
from utils.config.loading import Config, load_config
from utils.config.weights_flag import split_weights
from utils.errors import InputError, RunError
from utils.log import lines_logged
from utils.processes.limits import available_cores

if TYPE_CHECKING:  # slow to import, so imported where it is used
    from inference.network import Network

PICKLES = (".pkl", ".pickle")
ENDLESS = 1_000_000  # a number of videos for which the network gets a stream for each core


class Prediction(TypedDict):
    """A class and its probability, from 0 to 1."""

    class_id: int
    label: str
    probability: float


class Answer(TypedDict):
    """The likeliest classes of a video, best first. With many labels: those above their thresholds, or `none`."""

    video: str | None  # its path; None for frames, bytes and files
    predictions: list[Prediction]


class ListAnswer(TypedDict):
    """The answer for one of several videos: predictions, or `error` with the reason why it cannot be read."""

    video: str | None
    predictions: NotRequired[list[Prediction]]
    error: NotRequired[str]


class Classifier:
    """A network, or several together, with the names of the classes. It answers a video as predict.py does.

    Any number of threads may call it, but only in the process that made it. It is a context manager: leaving it, or
    `close`, ends its reader processes.
    """

    def __init__(
        self, config: str | os.PathLike[str] | Config, weights: str | os.PathLike[str] = "", *, num_videos: int = 1
    ):
        """Load the network and the names of its classes.

        Args:
            config: the YAML file; its section INFER applies, as in predict.py. '': the configuration comes from the
                name of the weights, from the manifest beside them, or from the folder that train.py wrote.
            weights: a file or folder of weights, an address or a name; '': INFER.weights. For several networks, as in
                "a*2,b", the answer is the mean of their probabilities, where `a` counts twice; without `config`, each
                reads videos in its own way. `network` and `section` are those of the first network.
            num_videos: the expected number; if there are several, each core gets a stream from the beginning.

        Raises InputError if the configuration, the weights or the label list is missing or does not fit.
        """
        quieten_paddle()
        self._others: list[Classifier] = []
        with lines_logged(), _arguments_named():
            several = split_weights(os.fspath(weights))
            given, weights = config, several[0][0] if several else weights
            if not isinstance(config, Config):
                path = os.fspath(config) or config_of_run(os.fspath(weights))
                config = load_config(path, {"INFER.weights": os.fspath(weights) or None}, section="INFER")
            elif weights:
                config = replace(config, infer=replace(config.infer, weights=os.fspath(weights)))
            self.config, self.section = config, config.infer
            self.names = read_labels(config.infer.kinetics_labels, config.model.num_classes)
            self.network = self._load(num_videos)
        self.kind, self.thresholds = KINDS[self.config.model.labels], self.network.thresholds
        self._factors = [factor for _, factor in several]
        for one, _ in several[1:]:
            self._others.append(Classifier(given, one, num_videos=num_videos))
        if several:
            self._join([one for one, _ in several])
        self._process, self._lock = os.getpid(), threading.Lock()
        self._calls, self._is_wide = 0, num_videos > 1 or self.network.device != "cpu"
        self._readers: dict[str, WorkerPool] = {}  # by format

    def __repr__(self) -> str:
        each = [self, *self._others]
        models = "+".join(one.config.model.name for one in each)
        networks = " + ".join(one.network.description for one in each)
        return f"Classifier({models}, {len(self.names)} classes, {networks})"

    @overload
    def __call__(self, video: Video, *, topk: int | None = None) -> Answer: ...

    @overload
    def __call__(self, video: Iterable[Video], *, topk: int | None = None) -> Iterator[ListAnswer]: ...

    def __call__(self, video: Video | Iterable[Video], *, topk: int | None = None) -> Answer | Iterator[ListAnswer]:
        """Return the answer for a video; or yield the answers for several, in order, while the next ones are read.

        Args:
            video: a path; the content as bytes or as an open file; or frames uint8 [N, H, W, 3] in RGB, N > 0, from
                which the configuration's protocol chooses T, resizes and crops them. A list or any other iterable of
                these means several videos.
            topk: the number of classes; None: INFER.topk. With many labels: the largest number of classes above
                their thresholds; None: all of them.

        Raises:
            VideoError: the video cannot be read; the error has `path` and `reason`. For one of several videos, the
                answer says it instead.
            InputError: `video` is none of these, or `topk` is not from 1 to the number of classes.
            RunError: this process is a fork of the one that made the Classifier.
        """
        self._check_process()
        if topk is not None and not 0 < topk <= len(self.names):
            raise InputError(f"topk={topk}: expected 1 to {len(self.names)}, the number of classes")
        if isinstance(video, (str, os.PathLike, bytes, bytearray, np.ndarray)) or hasattr(video, "read"):
            return self._answer(video, topk)
        if not isinstance(video, Iterable):
            raise InputError(f"expected {EXPECTED}, or several of them, not {type(video).__name__}")
        return self._answers(iter(video), topk)

    def named(self, logits: np.ndarray, topk: int | None = None, threshold: float = 0.0) -> list[list[Prediction]]:
        """Return the classes of each video from its logits float32 [N, K], as inference/label_kinds.py describes.

        threshold: see `top_predictions`. With many labels, it replaces the thresholds that validation chose.
        """
        return self.kind.naming(self.names, self.section.topk, threshold, self.thresholds)(logits, topk)

    def _join(self, weights: Sequence[str]) -> None:
        """Take names and thresholds from all networks together. weights: those of each, for errors."""
        each = [self, *self._others]
        check_same_labels([one.config.model.labels for one in each], weights)
        self.names = list(check_same_classes([one.names for one in each], weights))
        if self.thresholds:
            self.thresholds = mean_thresholds([one.network.thresholds for one in each], self._factors)

    def close(self) -> None:
        """End the reader processes. Another call would start new ones."""
        if self._process == os.getpid():  # a fork must not end the readers of its parent
            with self._lock:
                ended = list(self._readers.values())
                self._readers.clear()
            for readers in ended:
                readers.close()
            for one in self._others:
                one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):  # __init__ may have failed, or the interpreter is ending
            self.close()

    def _load(self, num_videos: int) -> "Network":
        from inference.network import load_network
        from utils.processes.device import choose_device

        device = choose_device(self.section.use_gpu, self.config.demands_gpu)
        return load_network(self.config, self.section, device, num_videos)

    def _answers(self, videos: Iterator[Video], topk: int | None) -> Iterator[ListAnswer]:
        def answer(video: Video) -> ListAnswer:
            try:
                return self._answer(video, topk)
            except VideoError as error:
                path = video if isinstance(video, (str, os.PathLike)) else None
                return {"video": path and os.fspath(path), "error": error.reason}

        threads = available_cores() + 1  # one more thread waits for a reader while the others' clips are computed
        pending: deque[Future[ListAnswer]] = deque()
        with ThreadPoolExecutor(threads, "classifier") as pool:
            try:
                for video in videos:
                    pending.append(pool.submit(answer, video))
                    if len(pending) > 2 * threads:
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()

    def _answer(self, video: Video, topk: int | None) -> Answer:
        with opened_video(video) as (path, content):
            logits = self._logits(content)
            if self._others:
                each = [logits, *(one._logits(content) for one in self._others)]
                logits = mean_logits([self.kind.probabilities(one) for one in each], self._factors, self.kind)
        [predictions] = self.named(logits, topk)
        return {"video": path, "predictions": predictions}

    def _logits(self, video: str | np.ndarray) -> np.ndarray:
        """Return float32 [1, K] of this network alone."""
        with self._calling():
            return self.network(self._clip(video)[None])

    def _clip(self, video: str | np.ndarray) -> np.ndarray:
        if isinstance(video, str):
            return self._reader(video).read_file(video).clip
        from reader.dataset import cut_clip

        return cut_clip(clip_spec(replace(self.section, format="mp4")), video)

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Open a context of one call. The first call beside another one opens the network again, with all streams."""
        with self._lock:
            self._calls += 1
            if self._calls > 1 and not self._is_wide:
                with lines_logged():
                    self.network = self._load(ENDLESS)
                self._is_wide = True
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1

    def _check_process(self) -> None:
        if self._process != os.getpid():  # a fork has no threads of the network: the call would wait for ever
            raise RunError("this Classifier was made before its process forked: make one in each process")

    def _reader(self, path: str) -> WorkerPool:
        section = of_one_video(self.section, path)
        with self._lock:
            if section.format not in self._readers:
                pool = WorkerPool(clip_spec(section), available_cores(), section.video_timeout)
                self._readers[section.format] = pool
            return self._readers[section.format]


def of_one_video(section: InferConfig, path: str) -> InferConfig:
    """Return the section for a single path: as in the original, it is a video file, whatever format lists have.

    But a path that ends like a pickle has the section's format, and so has a folder if the section reads frames.
    """
    is_folder = section.format == "frames" and os.path.isdir(path)
    return section if path.endswith(PICKLES) or is_folder else replace(section, format="mp4")


@contextmanager
def _arguments_named() -> Iterator[None]:
    """Open a context whose errors name arguments of the call instead of flags."""
    try:
        yield
    except InputError as error:
        raise InputError(re.sub(r"--(config|weights)\b", r"\1", str(error))) from None

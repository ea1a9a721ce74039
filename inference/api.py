"""The call for notebooks and programs, on which serve.py and live.py are built: a video in, its likeliest classes out.

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

if TYPE_CHECKING:  # what takes time is imported where it is used
    from inference.network import Network

PICKLES = (".pkl", ".pickle")
# So many videos are to come that there shall be a stream for each core.
ENDLESS = 1_000_000


class Prediction(TypedDict):
    """A class and how probable it is, from 0 to 1."""

    class_id: int
    label: str
    probability: float


class Answer(TypedDict):
    """The likeliest classes of a video, best first; of many labels those above their thresholds, or `none`."""

    video: str | None  # its path; None of frames, bytes and files
    predictions: list[Prediction]


class ListAnswer(TypedDict):
    """The answer to a video of several; of one that cannot be read `error` says why, and there are no predictions."""

    video: str | None
    predictions: NotRequired[list[Prediction]]
    error: NotRequired[str]


class Classifier:
    """A network, or several together, with the names of the classes: a video in, what predict.py writes of it out.

    Any number of threads may call it, in the process that has made it. A context manager; leaving it, or `close`, ends
    its reader processes.
    """

    def __init__(
        self, config: str | os.PathLike[str] | Config, weights: str | os.PathLike[str] = "", *, num_videos: int = 1
    ):
        """Load the network and the names of its classes.

        Args:
            config: the YAML file, whose section INFER holds here as for predict.py; '': what the name of the weights,
                the manifest beside them or the folder that train.py wrote them to says.
            weights: file or folder of weights, an address or a name; '': as the configuration says. Of several, as in
                "a*2,b", the answer is the mean of what they say, of which `a` counts twice; without `config` each
                reads videos in its own way. `network` and `section` are those of the first.
            num_videos: as many are to be expected; several are worth a stream for each core from the beginning.

        Raises InputError: the configuration, the weights or the label list is not to be had or does not fit.
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
        """Return the answer to a video, or give those to several in their order while the next ones are read.

        Args:
            video: a path; bytes or an open file, of which the content is read as that of an upload; or frames
                uint8 [N, H, W, 3] in RGB, N of any number but 0, of which the configuration's protocol chooses T,
                resizes and crops them. A list, or whatever else gives one of these after the other, is several.
            topk: so many classes; None: as the configuration says. Of many labels at most so many of those above
                their thresholds; None: all of them.

        Raises:
            VideoError: the video cannot be read; it has `path` and `reason`. Of several it is an answer instead.
            InputError: it is none of these, or topk is no number of classes.
            RunError: this is a fork of the process that has made it.
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
        """Return the classes of each video of logits float32 [N, K], see inference/label_kinds.py.

        threshold: see `top_predictions`; of many labels of all classes, in place of those that validation chose.
        """
        return self.kind.naming(self.names, self.section.topk, threshold, self.thresholds)(logits, topk)

    def _join(self, weights: Sequence[str]) -> None:
        """Make the names and thresholds those of all networks together. weights: of each."""
        each = [self, *self._others]
        check_same_labels([one.config.model.labels for one in each], weights)
        self.names = list(check_same_classes([one.names for one in each], weights))
        if self.thresholds:
            self.thresholds = mean_thresholds([one.network.thresholds for one in each], self._factors)

    def close(self) -> None:
        """End the reader processes; the next call would start others."""
        if self._process == os.getpid():  # else they are those of the process that has forked
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
        with suppress(Exception):  # it may not have been made, or the interpreter is on its way out
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

        threads = available_cores() + 1  # one waits for its reader while the others' clips are computed
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
        """Open a context of one call.

        The first that is not alone opens the network anew, with a stream for each core.
        """
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
        if self._process != os.getpid():  # the network's threads are not here: they would be waited for in vain
            raise RunError("this Classifier was made before its process forked: make one in each process")

    def _reader(self, path: str) -> WorkerPool:
        section = of_one_video(self.section, path)
        with self._lock:
            if section.format not in self._readers:
                pool = WorkerPool(clip_spec(section), available_cores(), section.video_timeout)
                self._readers[section.format] = pool
            return self._readers[section.format]


def of_one_video(section: InferConfig, path: str) -> InferConfig:
    """Return the section for a path: as in the original a video, whatever lists hold, unless it is called a pickle.

    A folder is one of frames where the section reads these.
    """
    is_folder = section.format == "frames" and os.path.isdir(path)
    return section if path.endswith(PICKLES) or is_folder else replace(section, format="mp4")


@contextmanager
def _arguments_named() -> Iterator[None]:
    """Open a context whose errors name arguments of the call in place of flags."""
    try:
        yield
    except InputError as error:
        raise InputError(re.sub(r"--(config|weights)\b", r"\1", str(error))) from None

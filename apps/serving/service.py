"""Turn an upload into its classes with a queue, reader processes and the network."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from apps.serving.batches import NetworkError, VideoQueue
from apps.serving.body import Body
from apps.serving.pictures import Pictures
from apps.serving.quotas import LONGEST_WAIT, READING_SECONDS, TOGETHER, Limits, Refusal
from inference.api import Classifier, of_one_video
from reader.build import clip_spec
from reader.integrity import VideoError
from reader.loader import worker_count
from reader.workers import WorkerPool
from utils.processes.limits import available_cores


class Service(AbstractContextManager):
    """Answers videos on this machine. A context manager: leaving it ends the reader processes."""

    def __init__(self, classifier: Classifier, limits: Limits):
        section = of_one_video(classifier.section, "")
        self.limits, self.classifier, self.section = limits, classifier, section
        self.failure: Exception | None = None  # the network's error, after which nothing can be answered
        self.stop = lambda: None  # called after such an error
        self.reading_seconds = min(section.video_timeout, READING_SECONDS)
        spec = replace(clip_spec(section), max_seconds=limits.seconds)
        readers = worker_count(section.num_reader_threads, available_cores()) + 1
        self._readers = WorkerPool(spec, readers, self.reading_seconds)
        self._threads = ThreadPoolExecutor(len(self._readers), thread_name_prefix="reader")
        self._batches = self._open_batches()
        # A GPU is used by one thread only, because its libraries do not support two.
        on_gpu = classifier.network.device == "gpu"
        self._pictures = Pictures(classifier.network, section, self._batches.ask if on_gpu else None)
        self.in_hand = 0  # videos that are uploaded and not yet answered
        self._seconds = 1.0  # per video while others are computed beside it, a running mean
        self._answered = 0
        self._promised = 0.0  # the time at which the last refused client was told to come back
        self.uploads: set[Body] = set()  # of unanswered requests

    def __exit__(self, *_) -> None:
        self._readers.close(self._threads)
        self._pictures.close()
        self._batches.close()

    def check_queue(self) -> None:
        """Raise Refusal if too many videos are waiting."""
        if self.in_hand >= self.limits.waiting:
            raise Refusal(503, f"{self.in_hand} videos are waiting already: try again in a moment")

    def retry_after(self) -> int:
        """Return the seconds until a refused client finds a place, if the clients before it come back as told.

        They are whole seconds. Clients told the same second come back together, so only as many are told it as find a
        place together.
        """
        now = time.monotonic()
        step = max(self._seconds, 1 / self.limits.waiting)
        self._promised = min(max(self._promised, now) + step, now + LONGEST_WAIT)
        return math.ceil(self._promised - now)

    async def answer(self, path: Path, name: str, asked: Any, state: dict) -> dict:
        """Return predict.py's answer for the video, called `name`, and pictures if asked for, see apps/serving/app.py.

        asked: frames, heat_maps and topk. state: gets the seconds `waited` and `computed`.

        Raises Refusal if the video cannot be read or too many are waiting; RunError for any other failure. When
        cancelled, it stops waiting and leaves started work to finish.
        """
        with self._place(state):
            loop = asyncio.get_running_loop()
            try:
                clip = await loop.run_in_executor(self._threads, self._read, str(path), state)
            except asyncio.CancelledError:  # the client is gone: the reader is free for others
                path.unlink(missing_ok=True)
                self._readers.drop(str(path))
                raise
            except VideoError as error:
                if not path.exists():
                    raise Refusal(503, "something has removed the upload from the server: try again") from None
                raise Refusal(422, f"{name}: {error.reason}", reason=error.reason) from None
            try:
                logits = await asyncio.wrap_future(waiting := self._batches.ask(clip))
            except NetworkError:
                raise Refusal(503, "the network failed: try again in a moment") from None
            [predictions] = self.classifier.named(logits, asked.topk)
            answer = {"video": name, "predictions": predictions}
            if asked.frames:
                answer["frames"] = self._pictures.frames(clip)
            if asked.heat_maps:
                answer["heat_maps"] = await self._pictures.heat_maps(clip, int(logits[0].argmax()))
            state["computed"] += time.monotonic() - waiting.began
        return answer

    @contextmanager
    def _place(self, state: dict) -> Iterator[None]:
        self.check_queue()
        self.in_hand += 1
        before, begun = self.in_hand, time.monotonic()
        try:
            yield
            # As many videos as it found waiting have been answered meanwhile.
            self._answered += 1
            self._seconds += ((time.monotonic() - begun) / before - self._seconds) / min(self._answered, 4)
        finally:
            self.in_hand -= 1
            state["waited"] = time.monotonic() - begun - state.get("computed", 0.0)

    def _read(self, path: str, state: dict) -> np.ndarray:
        begun = time.monotonic()
        try:
            return self._readers.read_file(path).clip
        finally:
            state["computed"] = time.monotonic() - begun

    def _open_batches(self) -> VideoQueue:
        network = self.classifier.network

        def start(clips: np.ndarray) -> Callable[[], np.ndarray]:
            wait = network.start(clips)
            return lambda: wait().logits

        if network.device == "gpu":
            return VideoQueue(start, max(1, TOGETHER // self.section.crops), 1, self._fail, ahead=True)
        # One call per video in each of the engine's streams, so that each is answered as soon as possible.
        return VideoQueue(start, 1, network.ahead, self._fail)

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.stop()

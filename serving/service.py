"""From an upload to its classes: the queue, the reader processes, the network."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from inference.api import Classifier, of_one_video
from reader.build import clip_spec
from reader.integrity import VideoError
from reader.workers import WorkerPool
from serving.batches import Batches
from serving.limits import READING_SECONDS, TOGETHER, Limits, Refusal
from serving.pictures import Pictures
from utils.processes.limits import available_cores


class Service:
    """Answers videos on this machine. A context manager: leaving it ends the reader processes."""

    def __init__(self, classifier: Classifier, limits: Limits):
        section = of_one_video(classifier.section, "")
        self.limits, self.classifier, self.section = limits, classifier, section
        self.failure: Exception | None = None  # of the network: nothing can be answered any more
        self.stop = lambda: None  # called then
        self.reading_seconds = min(section.video_timeout, READING_SECONDS)
        spec = replace(clip_spec(section), max_seconds=limits.seconds)
        self._readers = WorkerPool(spec, min(section.num_reader_threads, available_cores()) + 1, self.reading_seconds)
        self._threads = ThreadPoolExecutor(len(self._readers), thread_name_prefix="reader")
        self._batches = self._open_batches()
        self._pictures = Pictures(classifier.network, section)
        self._in_hand = 0

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_) -> None:
        self._readers.close()
        self._threads.shutdown(cancel_futures=True)
        self._readers.reap()
        self._batches.close()
        self._pictures.close()

    def check_queue(self) -> None:
        """Raises Refusal where another video would have to wait behind too many."""
        if self._in_hand >= self.limits.waiting:
            raise Refusal(503, f"{self._in_hand} videos are waiting already: try again in a moment")

    async def answer(self, path: Path, name: str, frames: bool, heat_maps: bool) -> dict:
        """What predict.py writes of the video, which is called `name`, and on request the pictures of serving/app.py.

        Raises Refusal where it cannot be read, or where too many wait; RunError where it is not the video's fault.
        """
        with self._place():
            loop = asyncio.get_running_loop()
            try:
                clip, _ = await loop.run_in_executor(self._threads, self._readers.read, str(path))
            except VideoError as error:
                raise Refusal(422, f"{name}: {error.reason}") from None
            logits = await asyncio.wrap_future(self._batches.ask(clip))
            [predictions] = self.classifier.named(logits)
            answer = {"video": name, "predictions": predictions}
            if frames:
                answer["frames"] = self._pictures.frames(clip)
            if heat_maps:
                answer["heat_maps"] = await self._pictures.heat_maps(clip, predictions[0]["class_id"])
        return answer

    @contextmanager
    def _place(self) -> Iterator[None]:
        self.check_queue()
        self._in_hand += 1
        try:
            yield
        finally:
            self._in_hand -= 1

    def _open_batches(self) -> Batches:
        import paddle

        network = self.classifier.network
        if paddle.get_device().startswith("gpu"):
            return Batches(network, max(1, TOGETHER // self.section.crops), 1, self._fail)
        # A call for each video, one at a time in each of the engine's processes: how a call is cut decides the last
        # bits of its logits, and an answer shall not depend on who else asks.
        return Batches(network, 1, max(1, network.ahead), self._fail)

    def _fail(self, error: Exception) -> None:
        self.failure = error
        self.stop()

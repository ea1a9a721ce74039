"""The training loop: one epoch of steps, with what is logged, checked and saved between them."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F

from metrics.accuracy import Accuracy
from reader.loader import Batch, timed
from utils.errors import RunError
from utils.log import JsonLog, format_metrics, progress_bar, say_in


@dataclass
class Steps:
    """How an epoch is cut into steps: `accumulate` batches of `batch_size` videos make one step of the optimizer."""

    videos: int
    batch_size: int
    accumulate: int

    @property
    def per_epoch(self) -> int:
        return math.ceil(self.videos / (self.batch_size * self.accumulate))

    def videos_of(self, step: int) -> int:
        """Videos in a step: fewer in the last one of an epoch."""
        size = self.batch_size * self.accumulate
        return min(size, self.videos - step * size)


class LossGuard:
    """Holds the losses of recent steps on the device and reads them together: no step waits for its own number."""

    def __init__(self):
        self._pending: list[tuple[int, int, paddle.Tensor, list[str]]] = []

    def add(self, epoch: int, step: int, loss: paddle.Tensor, videos: list[str]) -> None:
        self._pending.append((epoch, step, loss, videos))

    def check(self) -> float:
        """The last loss. Raises RunError that names epoch, step and videos of the first one that is not finite."""
        value = math.nan
        for epoch, step, loss, videos in self._pending:
            value = float(loss)
            if not math.isfinite(value):
                raise RunError(
                    f"the loss is {value} in epoch {epoch}, iter {step}; nothing was saved after the last checkpoint; "
                    f"videos of the batch: {', '.join(videos)}"
                )
        self._pending.clear()
        return value


class StepLog:
    """Times steps and writes the log line and the JSON line of every `interval`-th one."""

    def __init__(self, interval: int, json_log: JsonLog):
        self._interval, self._json = interval, json_log
        self._reset()

    def _reset(self) -> None:
        self._start, self._waited, self._steps, self._videos = time.perf_counter(), 0.0, 0, 0

    def add(self, videos: int, waited: float) -> None:
        """Counts a step of `videos` videos that waited `waited` seconds for its data."""
        self._steps, self._videos, self._waited = self._steps + 1, self._videos + videos, self._waited + waited

    def due(self, step: int) -> bool:
        return step % self._interval == 0

    def write(self, epoch: int, step: int, accuracy: Accuracy, lr: float) -> None:
        """The lines of a step; time, speed and wait are means over the steps since the line before."""
        seconds = time.perf_counter() - self._start
        means = accuracy.means
        say_in("TRAIN", f"Epoch {epoch}, iter {step}, time {seconds / self._steps:.2f}, {format_metrics(means)}")
        self._json.write(
            mode="train", epoch=epoch, iter=step, **means, lr=lr, videos_per_second=self._videos / seconds,
            data_wait=self._waited / seconds,
        )  # fmt: skip
        self._reset()


def train_one_epoch(
    model: paddle.nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    batches: Iterator[Batch],
    steps: Steps,
    *,
    epoch: int,
    first_step: int,
    learning_rate: Callable[[int], float],
    log: StepLog,
    after_batch: Callable[[Batch], None],
    after_step: Callable[[int, int, LossGuard], None],
    video_names: Callable[[Batch], list[str]],
) -> None:
    """Runs the steps first_step.. of an epoch; `after_step(epoch, next step, guard)` may save, or end the run by raising."""
    model.train()
    guard = LossGuard()
    source = timed(batches)
    bar = progress_bar(steps.per_epoch, f"epoch {epoch}", initial=first_step)
    with bar:
        for step in range(first_step, steps.per_epoch):
            rate = learning_rate(step)
            optimizer.set_lr(rate)
            videos, losses, outputs, names, waited = steps.videos_of(step), [], [], [], 0.0
            for _ in range(math.ceil(videos / steps.batch_size)):
                batch, seconds = next(source)
                waited += seconds
                after_batch(batch)
                logits = model(paddle.to_tensor(batch.frames))  # [N, K]
                # The mean over all videos of the step, whatever their number in this batch.
                loss = F.cross_entropy(logits, paddle.to_tensor(batch.labels), reduction="sum") / videos
                loss.backward()
                losses.append(loss.detach())
                outputs.append((logits.detach(), batch.labels))
                names += video_names(batch)
            optimizer.step()
            optimizer.clear_grad()
            guard.add(epoch, step, sum(losses[1:], losses[0]), names)
            log.add(videos, waited)
            if log.due(step):
                guard.check()
                log.write(epoch, step, _accuracy(outputs), rate)
            bar.update()
            after_step(epoch, step + 1, guard)
        guard.check()


def _accuracy(outputs: list[tuple[paddle.Tensor, np.ndarray]]) -> Accuracy:
    total = Accuracy()
    for logits, labels in outputs:
        total.update(logits.numpy(), labels)
    return total

"""Run the training loop: one epoch of steps, with the logs, checks and checkpoints between them."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import paddle

from models.transfer import wait_for_gpu
from reader.loader import Batch, timed
from training.amp import Amp, on_device
from training.beforehand import too_high
from training.recipe import Objective
from training.targets import SEEN, TrainingCounts
from training.waiting import Spent
from utils.errors import RunError
from utils.log import JsonLog, format_metrics, progress_bar, say, say_in
from utils.processes.gradients import GradientSum
from utils.processes.ranks import World


@dataclass(frozen=True)
class Steps:
    """The steps of an epoch: each takes `accumulate` global batches of `batch_size` videos."""

    videos: int
    batch_size: int
    accumulate: int

    @property
    def size(self) -> int:
        """Return the number of videos in a full step."""
        return self.batch_size * self.accumulate

    @property
    def per_epoch(self) -> int:
        return math.ceil(self.videos / self.size)

    def batches_of(self, step: int) -> list[int]:
        """Return the sizes of a step's global batches: the last step of an epoch may have fewer or smaller ones."""
        videos = min(self.size, self.videos - step * self.size)
        return [min(self.batch_size, videos - start) for start in range(0, videos, self.batch_size)]


class LossGuard:
    """Keeps recent losses on the device and reads them together, so that no step waits for its own loss."""

    LIMIT = 100  # the losses are read after at most this many steps

    def __init__(self, world: World):
        self._world = world
        self._pending: list[tuple[int, int, paddle.Tensor, list[str]]] = []
        self._last: tuple[int, int, list[str]] = (0, 0, [])

    def add(self, epoch: int, step: int, loss: paddle.Tensor, videos: list[str]) -> None:
        """Add this rank's part of a step's loss, and the videos it comes from."""
        self._pending.append((epoch, step, loss, videos))
        self._last = (epoch, step, videos)
        if len(self._pending) >= self.LIMIT:
            self.check()

    def check(self) -> None:
        """Raise RunError on all ranks for the first non-finite loss on any of them, with epoch, step and videos.

        All ranks must call it after the same step.
        """
        wait_for_gpu()
        values = [float(loss) for _, _, loss, _ in self._pending]
        bad = next((i for i, value in enumerate(values) if not math.isfinite(value)), None)
        if self._world.all_reduce([bad is not None])[0]:
            parts = self._world.all_gather(None if bad is None else (bad, values[bad], self._pending[bad][3]))
            first = min(part[0] for part in parts if part)
            parts = [part for part in parts if part and part[0] == first]
            epoch, step = self._pending[first][:2]
            raise RunError(self._complaint(f"the loss is {parts[0][1]} in", epoch, step, [part[2] for part in parts]))
        self._pending.clear()

    def check_weights(self, model: paddle.nn.Layer) -> None:
        """Raise RunError on all ranks if the last step had a finite loss but left non-finite weights."""
        weights = [w for w in model.state_dict().values() if w.is_floating_point()]
        finite = paddle.stack([paddle.isfinite(w).all() for w in weights]).all()
        wait_for_gpu()
        if not finite:
            epoch, step, videos = self._last
            raise RunError(self._complaint("weights are not finite after", epoch, step, self._world.all_gather(videos)))

    @staticmethod
    def _complaint(what: str, epoch: int, step: int, videos: list[list[str]]) -> str:
        return (
            f"{what} epoch {epoch}, iter {step}; the last checkpoint is from before it; "
            f"videos of the step: {', '.join(sum(videos, []))}"
        )


class StepLog:
    """Times the steps, and writes a log line and a JSON line for every `interval`-th step."""

    def __init__(
        self, interval: int, json_log: JsonLog, counted: TrainingCounts = SEEN["single"], lines: str = "steps"
    ):
        """lines: which get a line on the screen, "steps", "epochs" or "validations"; the JSON log has all."""
        self._interval, self._json, self.counted, self.lines = interval, json_log, counted, lines
        self.trained: float | None = None  # the metric of the last whole epoch, percent
        self._warned, self._classes = False, 0
        self.restart()
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Forget the previous epoch's sums."""
        self._seen, self._sums = 0, []

    def see(self, logits: paddle.Tensor, labels: np.ndarray) -> None:
        """Add a batch to the epoch's sums, on the device, so that no step waits for them."""
        self._seen += len(labels)
        sums = self.counted.of_batch(logits, paddle.to_tensor(labels))
        self._sums = [before + now for before, now in zip(self._sums, sums)] if self._sums else sums
        self._classes = logits.shape[1]

    def write_epoch(self, epoch: int, last_step: int, world: World, lr: float) -> None:
        """Write the line of an epoch over all ranks' videos, with the network's state at the time of each step."""
        own = self.counted.counts(self._seen, *(sums.item() for sums in self._sums))
        means = self._over(world, own).means
        self.trained = means[self.counted.metric]
        if self.lines == "epochs":
            say_in("TRAIN", f"Epoch {epoch}, {format_metrics(means)}")
        self._json.write(mode="epoch", epoch=epoch, iter=last_step, **means, lr=lr, time=time.time())
        line = too_high(means["loss"], self.counted.chance(self._classes), lr)
        if line and not self._warned:
            say(f"epoch {epoch}: {line}")
            self._warned = True

    def restart(self) -> None:
        """Forget the time until now, which was not training."""
        self._start, self._waited, self._steps, self._videos = time.perf_counter(), 0.0, 0, 0

    def add(self, videos: int, waited: float) -> None:
        """Count a step of `videos` videos that waited `waited` seconds for its data."""
        self._steps, self._videos, self._waited = self._steps + 1, self._videos + videos, self._waited + waited

    def due(self, step: int) -> bool:
        return step % self._interval == 0

    def _over(self, world: World, own: object):
        return sum(world.all_gather(own), self.counted.counts())

    def write(self, epoch: int, step: int, outputs: list[tuple[paddle.Tensor, np.ndarray]], world: World, lr: float):
        """Write the lines of a step. Time, speed and wait are means over the steps since the last line.

        outputs: (logits, labels) of this rank's batches.
        """
        own = self.counted.counts()
        for logits, true in outputs:
            own.update(logits.numpy(), true)
        means = self._over(world, own).means
        seconds = time.perf_counter() - self._start
        if self.lines == "steps":
            say_in("TRAIN", f"Epoch {epoch}, iter {step}, time {seconds / self._steps:.2f}, {format_metrics(means)}")
        self._json.write(
            mode="train", epoch=epoch, iter=step, **means, lr=lr, videos_per_second=self._videos / seconds,
            data_wait=self._waited / seconds, time=time.time(),
        )  # fmt: skip
        self.restart()


@dataclass
class Loop:
    """The parts that stay the same from step to step."""

    model: paddle.nn.Layer
    optimizer: paddle.optimizer.Optimizer
    objective: Objective
    amp: Amp
    steps: Steps
    world: World
    seed: int  # for the model's random draws: dropout
    log: StepLog
    guard: LossGuard
    learning_rate: Callable[[int, int], float]  # of (epoch, step)
    video_names: Callable[[Batch], list[str]]
    after_batch: Callable[[Batch], None]
    after_step: Callable[[int, int], None]  # (epoch, next step): may save, or end the run by raising
    time_left: Callable[[int, int], str] = lambda epoch, step: ""  # (epoch, next step): the bar's text about the run
    gradients: GradientSum = field(init=False)

    def __post_init__(self):
        self.gradients = GradientSum(self.model.parameters(), self.world)


def step_seed(seed: int, epoch: int, step: int, rank: int) -> int:
    """Return paddle's seed for a step on a rank, so that a resumed run draws the same numbers."""
    return int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1)[0])


def train_one_epoch(loop: Loop, batches: Iterator[Batch], epoch: int, first_step: int) -> Spent:
    """Run the steps of an epoch from first_step on, over this rank's batches. Raises RunError for a NaN loss."""
    begun, waited_in_all = time.perf_counter(), 0.0
    loop.amp.set_training_mode(loop.model)
    source = on_device(timed(batches), loop.amp.device)
    loop.log.restart()
    loop.log.begin_epoch()
    shown = loop.log.lines == "steps"
    with progress_bar(loop.steps.per_epoch, f"epoch {epoch}", initial=first_step, shown=shown) as bar:
        for step in range(first_step, loop.steps.per_epoch):
            rate = loop.learning_rate(epoch, step)
            loop.optimizer.set_lr(rate)
            paddle.seed(step_seed(loop.seed, epoch, step, loop.world.rank))
            sizes = loop.steps.batches_of(step)
            loss, outputs, names, waited = paddle.zeros([]), [], [], 0.0
            # An epoch's last batch may have fewer videos than there are ranks.
            numbers = [number for number, size in enumerate(sizes) if loop.world.rank < size]
            for number in numbers:
                batch, frames, labels, seconds = next(source)
                waited += seconds
                loop.after_batch(batch)
                names += loop.video_names(batch)
                frames, losses = loop.objective(frames, labels, epoch, step, number)
                with loop.amp.autocast():
                    logits = loop.model(frames)  # [N, K]
                # This part's sum, divided by the videos of the whole step, adds up to the mean over batches and ranks.
                part = losses(logits.astype("float32")) / sum(sizes)
                if number == numbers[-1]:
                    loop.gradients.begin()
                loop.amp.backward(part)
                loss += part.detach()
                outputs.append((logits.detach().astype("float32"), batch.labels))
                loop.log.see(*outputs[-1])
            loop.gradients.finish()
            loop.amp.step(loop.optimizer)
            loop.guard.add(epoch, step, loss, names)
            loop.log.add(sum(sizes), waited)
            waited_in_all += waited
            if loop.log.due(step):
                loop.guard.check()
                loop.log.write(epoch, step, outputs, loop.world, rate)
            bar.set_postfix_str(loop.time_left(epoch, step + 1), refresh=False)
            bar.update()
            loop.after_step(epoch, step + 1)
    if not first_step:
        loop.log.write_epoch(epoch, step, loop.world, max(rate, loop.learning_rate(epoch, 0)))
    wait_for_gpu()  # then the last batch, which `source` still holds, can be freed
    return Spent(time.perf_counter() - begun, waited_in_all)

"""Compute the learning rate from the step alone, so nothing has to be saved or restored."""

import math
from dataclasses import dataclass

from utils.config.train_keys import TrainConfig
from utils.log import say


@dataclass(frozen=True)
class Schedule:
    """The learning rate for each step."""

    steps_per_epoch: int
    epochs: int
    base: float
    decay: float = 0.1  # a factor at each milestone
    milestones: tuple[int, ...] | None = None  # epochs; None: after one third of the steps, and after two
    cosine: bool = False
    warmup_epochs: float = 0.0
    warmup_base: float = 0.0

    def __call__(self, epoch: int, step: int) -> float:
        """Return the rate for a step of an epoch, both from 0.

        During the first w = warmup_epochs * steps_per_epoch steps, it rises linearly from warmup_base to the schedule's
        rate at w: Goyal et al., https://arxiv.org/abs/1706.02677, with PP-TSN's ends (PaddleVideo's
        paddlevideo/solver/custom_lr.py).
        """
        now, warmup = epoch * self.steps_per_epoch + step, self.warmup_epochs * self.steps_per_epoch
        if now < warmup:
            return self.warmup_base + (self._rate_at(warmup) - self.warmup_base) * now / warmup
        return self._rate_at(now)

    def _rate_at(self, step: float) -> float:
        total = self.epochs * self.steps_per_epoch
        if self.cosine:
            # Loshchilov and Hutter, https://arxiv.org/abs/1608.03983. Warm-up counts in the total, as in PP-TSN.
            return self.base * (1 + math.cos(math.pi * step / total)) / 2
        if self.milestones is None:
            # Whole numbers, so that thirds are compared without rounding. The original counts
            # int(total_videos / batch_size + 1) steps per epoch; these are the list's actual steps.
            return self.base * self.decay ** (int(3 * step >= total) + int(3 * step >= 2 * total))
        return self.base * self.decay ** sum(step >= epoch * self.steps_per_epoch for epoch in self.milestones)


def build_schedule(train: TrainConfig, steps_per_epoch: int, step_size: int) -> Schedule:
    """Return a section's schedule, with rates scaled from learning_rate_batch videos per step to step_size."""
    scale = 1.0
    if train.learning_rate_batch:
        scale = step_size / train.learning_rate_batch
        say(
            f"learning rate {train.learning_rate:g} for {train.learning_rate_batch} videos a step, "
            f"scaled to {train.learning_rate * scale:g} for {step_size}"
        )
    return Schedule(
        steps_per_epoch=steps_per_epoch,
        epochs=train.epoch,
        base=train.learning_rate * scale,
        decay=train.learning_rate_decay,
        milestones=train.milestones,
        cosine=train.schedule == "cosine",
        warmup_epochs=train.warmup_epochs,
        warmup_base=train.warmup_learning_rate * scale,
    )

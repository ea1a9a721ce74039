"""The learning rate as a function of the step alone: nothing to save, nothing to restore."""

import math
from dataclasses import dataclass

from utils.config.train_keys import TrainConfig
from utils.log import say


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every step."""

    steps_per_epoch: int
    epochs: int
    base: float
    decay: float = 0.1  # at each milestone
    milestones: tuple[int, ...] | None = None  # epochs; None: thirds
    cosine: bool = False
    warmup_epochs: float = 0.0
    warmup_base: float = 0.0

    def __call__(self, epoch: int, step: int) -> float:
        """Return the rate of a step of an epoch, both from 0.

        In the first w = warmup_epochs * steps_per_epoch steps it goes in a straight line from warmup_base to what the
        schedule gives at w: Goyal et al., https://arxiv.org/abs/1706.02677, with PP-TSN's ends (PaddleVideo's
        paddlevideo/solver/custom_lr.py).
        """
        now, warmup = epoch * self.steps_per_epoch + step, self.warmup_epochs * self.steps_per_epoch
        if now < warmup:
            return self.warmup_base + (self._rate_at(warmup) - self.warmup_base) * now / warmup
        return self._rate_at(now)

    def _rate_at(self, step: float) -> float:
        total = self.epochs * self.steps_per_epoch
        if self.cosine:
            return cosine_rate_at(step, total, self.base)
        if self.milestones is None:
            return learning_rate_at(step, total, self.base, self.decay)
        return self.base * self.decay ** sum(step >= epoch * self.steps_per_epoch for epoch in self.milestones)


def build_schedule(train: TrainConfig, steps_per_epoch: int, step_size: int) -> Schedule:
    """Return a section's schedule, its rates scaled from steps of learning_rate_batch videos to those of step_size."""
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


def learning_rate_at(step: float, total_steps: int, base: float, decay: float) -> float:
    """Return the rate of a step, from 0, of `total_steps`: `base`, times `decay` from one third on and again from two.

    The original counts int(total_videos / batch_size + 1) steps per epoch; here they are those of the list at hand.
    """
    # Whole numbers: a third of the steps is compared without rounding.
    return base * decay ** (int(3 * step >= total_steps) + int(3 * step >= 2 * total_steps))


def cosine_rate_at(step: float, total_steps: int, base: float) -> float:
    """Return the rate base * (1 + cos(pi * step / total_steps)) / 2.

    Loshchilov and Hutter, https://arxiv.org/abs/1608.03983. Of all steps, those of a warm-up included, as PP-TSN counts
    them.
    """
    return base * (1 + math.cos(math.pi * step / total_steps)) / 2

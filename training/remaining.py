"""Estimate a run's remaining time from its last steps and validations, for the bar and for a line in long runs."""

import time
from collections import deque

from utils.log import say

RECENT = 100  # the latest steps, which predict the next ones
SOME = 10  # after this many steps, a long run says when it will end
LONG = 600.0  # seconds; if less is left, there is no such line


class Pace:
    """The seconds per unit of work over the last RECENT pieces, without the first, which includes starting readers."""

    def __init__(self):
        self._begun, self._pieces = time.perf_counter(), 0
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)

    def begin(self) -> None:
        """Begin a piece; the time until now belongs to none."""
        self._begun = time.perf_counter()

    def did(self, units: float = 1) -> bool:
        """End a piece with this many units and begin the next. Return True once, when SOME pieces are known."""
        if self._pieces:
            self._recent.append((units, time.perf_counter() - self._begun))
        self._pieces += 1
        self.begin()
        return self._pieces == SOME + 1

    @property
    def is_known(self) -> bool:
        return self._pieces > SOME

    def seconds(self, units: float) -> float:
        """Return the time for this many units; 0 if nothing is known yet."""
        done = sum(units for units, _ in self._recent)
        return units * sum(seconds for _, seconds in self._recent) / done if done else 0.0


class RunClock:
    """The time left in a run of `epochs` epochs, with a validation every `interval` epochs; 0: none."""

    def __init__(self, steps_per_epoch: int, epochs: int, interval: int, patience: int = 0):
        self._steps_per_epoch, self._epochs, self._interval = steps_per_epoch, epochs, interval
        self._unless = ", unless TRAIN.patience ends it" if patience else ""
        self.steps, self._validation = Pace(), 0.0

    def seconds(self, epoch: int, step: int) -> float:
        """Return the time left before step `step` of an epoch: steps, and validations as long as the last one."""
        steps = (self._epochs - epoch) * self._steps_per_epoch - step
        validations = self._epochs // self._interval - epoch // self._interval if self._interval else 0
        return self.steps.seconds(steps) + validations * self._validation

    def after_step(self, epoch: int, step: int) -> str:
        """Count the step before `step`, and return the bar's text about the whole run."""
        now_known, seconds = self.steps.did(), self.seconds(epoch, step)
        if now_known:
            validations = ", without its validations" if self._interval and not self._validation else ""
            self._say(seconds, f"by {SOME} steps{validations}")
        return f"{duration(seconds)} left of the run" if seconds else ""

    def validated(self, epoch: int, seconds: float) -> None:
        """Note how long an epoch's validation took. After the first one, print the line again with validations."""
        first, self._validation = not self._validation, seconds
        if first and self.steps.is_known:
            self._say(self.seconds(epoch + 1, 0), "with its validations")

    def _say(self, seconds: float, how: str) -> None:
        if seconds >= LONG:
            say(f"the run takes {duration(seconds)} more, {how}: it ends about {at(seconds)}{self._unless}")


def features_left(pace: Pace, done: float, left: float) -> str:
    """Return the bar's text about feature extraction with `done` crops done now and `left` crops left."""
    now_known, seconds = pace.did(done), pace.seconds(left)
    if now_known and seconds >= LONG:
        say(f"the features take {duration(seconds)} more, by {SOME} batches: training begins about {at(seconds)}")
    return f"{duration(seconds)} left of all features" if seconds else ""


def duration(seconds: float) -> str:
    """Return hours and minutes, h:mm, or below an hour minutes and seconds: 5 min 03 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, of_hour = divmod(minutes, 60)
    return f"{hours}:{of_hour:02} h" if hours else f"{minutes} min {rest:02} s"


def at(seconds: float) -> str:
    """Return the local time of day in `seconds` seconds, as 17:40, with the date if it is another day."""
    then, now = time.localtime(time.time() + seconds), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)

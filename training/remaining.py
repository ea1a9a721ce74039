"""How long a run still takes, by what its last steps and validations took: for the bar, and a line in a long run."""

import time
from collections import deque

from utils.log import say

RECENT = 100  # steps that tell of the next ones
SOME = 10  # steps, after which a line tells when the run ends, in a long one
LONG = 600.0  # seconds; of a shorter rest there is none


class Pace:
    """Seconds that a unit of work takes, over the last RECENT pieces: of all but the first, for which readers start."""

    def __init__(self):
        self._begun, self._pieces = time.perf_counter(), 0
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)

    def begin(self) -> None:
        """Begin a piece: what was until now is in none."""
        self._begun = time.perf_counter()

    def did(self, units: float = 1) -> bool:
        """End a piece of so many units and begins the next one. Returns whether SOME are known, once."""
        if self._pieces:
            self._recent.append((units, time.perf_counter() - self._begun))
        self._pieces += 1
        self.begin()
        return self._pieces == SOME + 1

    @property
    def is_known(self) -> bool:
        return self._pieces > SOME

    def seconds(self, units: float) -> float:
        """Return what so many units are going to take; 0 where nothing is known yet."""
        done = sum(units for units, _ in self._recent)
        return units * sum(seconds for _, seconds in self._recent) / done if done else 0.0


class RunClock:
    """The time left of a run of so many epochs, of which every `interval`-th is validated; 0: none."""

    def __init__(self, steps_per_epoch: int, epochs: int, interval: int, patience: int = 0):
        self._steps_per_epoch, self._epochs, self._interval = steps_per_epoch, epochs, interval
        self._unless = ", unless TRAIN.patience ends it" if patience else ""
        self.steps, self._validation = Pace(), 0.0

    def seconds(self, epoch: int, step: int) -> float:
        """Return what is left before step `step` of an epoch: steps, and validations as long as the last one."""
        steps = (self._epochs - epoch) * self._steps_per_epoch - step
        validations = self._epochs // self._interval - epoch // self._interval if self._interval else 0
        return self.steps.seconds(steps) + validations * self._validation

    def after_step(self, epoch: int, step: int) -> str:
        """Count a step, the one before `step`, and return what the bar says of the whole run."""
        now_known, seconds = self.steps.did(), self.seconds(epoch, step)
        if now_known:
            validations = ", without its validations" if self._interval and not self._validation else ""
            self._say(seconds, f"by {SOME} steps{validations}")
        return f"{duration(seconds)} left of the run" if seconds else ""

    def validated(self, epoch: int, seconds: float) -> None:
        """Note what the validation after an epoch took; after the first one the line comes again, with it."""
        first, self._validation = not self._validation, seconds
        if first and self.steps.is_known:
            self._say(self.seconds(epoch + 1, 0), "with its validations")

    def _say(self, seconds: float, how: str) -> None:
        if seconds >= LONG:
            say(f"the run takes {duration(seconds)} more, {how}: it ends about {at(seconds)}{self._unless}")


def features_left(pace: Pace, done: float, left: float) -> str:
    """Return what the bar says of all features, of which so many crops are done now, and so many are left."""
    now_known, seconds = pace.did(done), pace.seconds(left)
    if now_known and seconds >= LONG:
        say(f"the features take {duration(seconds)} more, by {SOME} batches: training begins about {at(seconds)}")
    return f"{duration(seconds)} left of all features" if seconds else ""


def duration(seconds: float) -> str:
    """Return hours and minutes, h:mm, or minutes and seconds where that is less than an hour: 5 min 03 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, of_hour = divmod(minutes, 60)
    return f"{hours}:{of_hour:02} h" if hours else f"{minutes} min {rest:02} s"


def at(seconds: float) -> str:
    """Return the time of day in so many seconds, as 17:40 on this machine's clock; on another day with its date."""
    then, now = time.localtime(time.time() + seconds), time.localtime()
    return time.strftime("%H:%M" if then[:3] == now[:3] else "%Y-%m-%d %H:%M", then)

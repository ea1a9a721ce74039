"""Follow a training log line by line: renew the page at each validation and feed the loggers."""

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from results.pages.charts import Curve, line_chart
from results.pages.loggers import Logger
from results.pages.page import never_fatal, write_page
from utils.config.loading import Config
from utils.log import say

# (log key, title and y axis name in both languages, unit, factor, the least upper end of the y axis, the modes to
# draw)
_ALL = ("train", "epoch", "valid")
_OF_VIDEOS = "% of the videos", "占视频的 %"
_CHARTS = (
    ("loss", ("Loss", "损失"), ("mean over videos", "视频平均"), "", 1, 0, _ALL),
    ("top1_acc", ("Top-1 accuracy", "Top-1 准确率"), _OF_VIDEOS, "%", 1, 100, _ALL),
    ("top5_acc", ("Top-5 accuracy", "Top-5 准确率"), _OF_VIDEOS, "%", 1, 100, _ALL),
    ("mAP", ("mAP", "mAP"), ("mean over classes", "类别平均"), "%", 1, 100, _ALL),
    ("mAP_micro", ("mAP micro", "微平均 mAP"), ("all classes together", "所有类别合计"), "%", 1, 100, _ALL),
    ("f1", ("F1 at a threshold of 0.5", "F1（阈值 0.5）"), ("all classes together", "所有类别合计"), "%", 1, 100, _ALL),
    ("lr", ("Learning rate", "学习率"), ("rate of the step", "该步的学习率"), "", 1, 0, ("train",)),
    ("videos_per_second", ("Speed", "速度"), ("videos per second", "每秒视频数"), "", 1, 0, ("train",)),
    ("data_wait", ("Waiting for data", "等待数据"), ("% of the time", "占时间的 %"), "%", 100, 10, ("train",)),
)
# For one label and for many: the key that judges a validation, the training key beside it, and the names of both.
_ONE, _MANY = ("top1_acc", "top1_acc", "top-1", "top-1", "Top-1"), ("mAP", "f1", "mAP", "F1", "mAP")
# A page lists at most this many validations and resumes, the newest.
MOST_VALIDATIONS = 200


@contextmanager
def following(
    folder: Path, report: bool, config: Config, steps_per_epoch: int, facts: Mapping[str, object]
) -> Iterator[Callable[[dict], None]]:
    """Yield a function that takes each line of the log in `folder`, renews report.html and feeds TRAIN.logger.

    The page is renewed once more at the end, however the run ends. Write errors are reported, and the run goes on.
    """
    log, page = folder / "train_log.jsonl", folder / "report.html"
    kind = config.train.logger
    loggers = [] if kind == "none" else [Logger(kind, log, steps_per_epoch)]

    def renew() -> None:
        if report and log.exists() and log.stat().st_size:  # the page needs a first line
            write_training_page(page, log, steps_per_epoch, config.train.epoch, facts)

    def follow(line: dict) -> None:
        for logger in list(loggers):
            try:
                logger(line)
            except Exception as error:  # any error: a logger must not end a run
                reason = " ".join(str(error).split())
                say(f"TRAIN.logger {kind} gets no more scalars: {type(error).__name__}: {reason}")
                loggers.remove(logger)
        if line["mode"] == "valid":
            renew()

    try:
        yield follow
    finally:
        for logger in loggers:
            with suppress(OSError):  # each line is already on the disk
                logger.close()
        renew()


@never_fatal
def write_training_page(path: Path, log: Path, steps_per_epoch: int, epochs: int, facts: Mapping[str, object]) -> None:
    """Write the page for the log `log` (train_log.jsonl). A failure is one line on the screen."""

    def lines() -> Iterator[tuple[int, dict]]:
        with open(log, encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                yield line["epoch"] * steps_per_epoch + line["iter"], line

    steps = [step for step, _ in lines()]
    x_range = (min(steps, default=0), max(steps, default=-1) + 1)
    curves = {key: {mode: Curve(*x_range) for mode in _ALL} for key, *_ in _CHARTS}
    last: dict[str, dict | None] = dict.fromkeys(_ALL)
    best = None
    validations: deque[dict] = deque(maxlen=MOST_VALIDATIONS)
    resumed: deque[tuple[int, int, int]] = deque(maxlen=MOST_VALIDATIONS)
    trained: dict[int, float] = {}  # top-1 by epoch, over the whole epoch
    clock, metric = _Clock(), _ONE
    for step, line in lines():
        clock.see(step, line)
        metric = _MANY if "mAP" in line or "f1" in line else metric
        mode = line["mode"]
        for key, _, _, _, factor, _, modes in _CHARTS:
            if line.get(key) is not None and mode in modes:
                curves[key][mode].add(step, factor * line[key])
        last[mode] = line
        if "resumed" in line:
            epoch, iteration = line["resumed"]
            resumed.append((epoch * steps_per_epoch + iteration, epoch, iteration))
        if mode == "epoch":
            trained[line["epoch"]] = line[metric[1]]
        if mode == "valid":
            validations.append(line)
            if best is None or line[metric[0]] > best[metric[0]]:
                best = line
    marks = [max(x_range[0], step) for step, *_ in resumed]
    done = max(steps, default=-1) + 1
    write_page(
        path,
        "training.html",
        charts=[
            line_chart(*names, curves[key], marks, x_range, steps_per_epoch, least)
            for key, *names, _, least, _ in _CHARTS
            if any(curve.points for curve in curves[key].values())
        ],
        facts=facts,
        last=last,
        when=clock.last and time.strftime("%Y-%m-%d %H:%M", time.localtime(clock.last)),
        best=best,
        metric=metric,
        validations=validations,
        trained=trained,
        resumed=resumed,
        epochs=epochs,
        done=done // steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        seconds=clock.seconds,
        seconds_left=clock.pace and clock.pace * (epochs * steps_per_epoch - done),
        most_validations=MOST_VALIDATIONS,
    )


class _Clock:
    """How long a run has taken by its log's times, without the pauses before it was resumed."""

    def __init__(self):
        self.seconds, self.last = 0.0, None  # last: the time of the last line, seconds since 1970
        self._begun: tuple[int, float] | None = None  # (step, time) of the first line since the last resume
        self._now = (0, 0.0)

    def see(self, step: int, line: dict) -> None:
        """Note a line, in order. Lines of old logs have no time."""
        if (now := line.get("time")) is None:
            return
        if "resumed" in line or self._begun is None:
            self._begun = step, now
        else:
            self.seconds += max(0.0, now - self.last)
        self.last, self._now = now, (step, now)

    @property
    def pace(self) -> float | None:
        """Return seconds per step since the last resume, with validations; None before the second step."""
        steps = self._now[0] - self._begun[0] if self._begun else 0
        return (self._now[1] - self._begun[1]) / steps if steps > 0 else None

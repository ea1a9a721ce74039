"""The page of a training run, renewed at each validation, and whoever else follows its log line by line."""

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

# (key of the log, title, unit, factor, up to where the y axis goes at least, whether validations are drawn)
_CHARTS = (
    ("loss", "Loss", "", 1, 0, True),
    ("top1_acc", "Top-1 accuracy", "%", 1, 100, True),
    ("top5_acc", "Top-5 accuracy", "%", 1, 100, True),
    ("mAP", "mAP", "%", 1, 100, True),
    ("mAP_micro", "mAP micro", "%", 1, 100, True),
    ("f1", "F1 at 0.5", "%", 1, 100, True),
    ("lr", "Learning rate", "", 1, 0, False),
    ("videos_per_second", "Videos per second", "", 1, 0, False),
    ("data_wait", "Time spent waiting for data", "%", 100, 10, False),
)
# Validations and resumes that a page lists at most: the newest.
MOST_VALIDATIONS = 200


@contextmanager
def following(
    folder: Path, report: bool, config: Config, steps_per_epoch: int, facts: Mapping[str, object]
) -> Iterator[Callable[[dict], None]]:
    """A function to be told each line of the log in `folder`: it renews report.html and feeds TRAIN.logger.

    The page is renewed once more at the end, however the run ends. What cannot be written is said, and the run goes on.
    """
    log, page = folder / "train_log.jsonl", folder / "report.html"
    kind = config.train.logger
    loggers = [] if kind == "none" else [Logger(kind, log, steps_per_epoch)]

    def renew() -> None:
        if report and log.exists() and log.stat().st_size:  # nothing to look at before the first line
            write_training_page(page, log, steps_per_epoch, config.train.epoch, facts)

    def follow(line: dict) -> None:
        for logger in list(loggers):
            try:
                logger(line)
            except Exception as error:  # whatever it is, no logger is worth a run
                reason = " ".join(str(error).split())
                say(f"TRAIN.logger {kind} gets no more scalars: {type(error).__name__}: {reason}")
                loggers.remove(logger)
        if line["mode"] == "valid":
            renew()

    try:
        yield follow
    finally:
        for logger in loggers:
            with suppress(OSError):  # each line is on the disk already
                logger.close()
        renew()


@never_fatal
def write_training_page(path: Path, log: Path, steps_per_epoch: int, epochs: int, facts: Mapping[str, object]) -> None:
    """Writes the page of the run whose log is `log` (train_log.jsonl); a failure is one line on the screen."""

    def lines() -> Iterator[tuple[int, dict]]:
        with open(log, encoding="utf-8") as file:
            for text in file:
                line = json.loads(text)
                yield line["epoch"] * steps_per_epoch + line["iter"], line

    steps = [step for step, _ in lines()]
    x_range = (min(steps, default=0), max(steps, default=0))
    curves = {(mode, key): Curve(*x_range) for mode in ("train", "valid") for key, *_ in _CHARTS}
    last: dict[str, dict | None] = {"train": None, "valid": None}
    best, written = None, None
    validations: deque[dict] = deque(maxlen=MOST_VALIDATIONS)
    resumed: deque[tuple[int, int, int]] = deque(maxlen=MOST_VALIDATIONS)
    trained: dict[int, float] = {}  # top-1 by epoch, over all of it
    for step, line in lines():
        if line["mode"] == "epoch":
            trained[line["epoch"]] = line["top1_acc"]
            continue
        for key, _, _, factor, _, both in _CHARTS:
            if line.get(key) is not None and (both or line["mode"] == "train"):
                curves[line["mode"], key].add(step, factor * line[key])
        last[line["mode"]] = line
        written = line.get("time")
        if "resumed" in line:
            epoch, iteration = line["resumed"]
            resumed.append((epoch * steps_per_epoch + iteration, epoch, iteration))
        if line["mode"] == "valid":
            validations.append(line)
            if best is None or line["top1_acc"] > best["top1_acc"]:
                best = line
    marks = [max(x_range[0], step) for step, *_ in resumed]
    write_page(
        path,
        "training.html",
        charts=[
            line_chart(title, unit, curves["train", key], curves["valid", key], marks, x_range, least)
            for key, title, unit, _, least, _ in _CHARTS
            if curves["train", key].points or curves["valid", key].points
        ],
        facts=facts,
        last=last,
        when=written and time.strftime("%Y-%m-%d %H:%M", time.localtime(written)),
        best=best,
        validations=validations,
        trained=trained,
        resumed=resumed,
        epochs=epochs,
        most_validations=MOST_VALIDATIONS,
    )

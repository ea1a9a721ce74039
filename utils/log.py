"""Print lines for people, and write JSON logs for programs."""

import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from utils import cli
from utils.cli import harmless
from utils.processes.ranks import RANK_MARK, env_rank
from utils.storage.files import write_all, write_text, writing
from utils.storage.lines import parsed, to_line

_logged = 0  # open contexts of `lines_logged`


@contextmanager
def lines_logged() -> Iterator[None]:
    """Open a context in which lines for people go to the logger "tsn", unless one of our scripts is running.

    A program that uses the toolkit keeps its stdout to itself.
    """
    global _logged
    ours = not cli.is_running
    _logged += ours
    try:
        yield
    finally:
        _logged -= ours


def say(message: str, every_rank: bool = False) -> None:
    """Print one line at once, above a progress bar if one is shown.

    With several ranks, only rank 0's lines are shown, and other ranks' lines with `every_rank`.
    """
    if _logged:
        logging.getLogger("tsn").info(message)
        return
    if every_rank and env_rank() > 0:
        message = f"{RANK_MARK}{env_rank()}] {message}"
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None and sys.stderr is not None and sys.stderr.isatty():
        tqdm.tqdm.write(message, file=sys.stdout)
        sys.stdout.flush()
    else:
        print(message, flush=True)


def say_in(mode: str, message: str) -> None:
    """Print `[MODE yyyy-mm-dd hh:mm:ss] message`, the line format of the original."""
    say(f"[{mode} {time.strftime('%Y-%m-%d %H:%M:%S')}] {message}")


def format_metrics(means: dict[str, float], names: tuple[str, str, str] = ("Loss", "top1_acc", "top5_acc")) -> str:
    """Return `Loss: 5.99, top1_acc: 0.39, top5_acc: 1.56`: the mean loss, and the percentages found in `means`."""
    shown = dict(zip(("loss", "top1_acc", "top5_acc"), names))
    percentages = [f"{shown.get(key, key)}: {value:.2f}" for key, value in means.items() if key != "loss"]
    return ", ".join([f"{shown['loss']}: {means['loss']:.6f}", *percentages])


class JsonLog:
    """A file with one JSON object per line, each on the disk before the next step begins. A context manager."""

    def __init__(
        self, path: Path | None, first: Mapping[str, object] | None = None, follow: Callable[[dict], None] | None = None
    ):
        """Append to `path`, see `trim_json_log`; None: write nothing. Raises RunError if it cannot be written.

        first: extra values for the first line. follow: called with each line once it is on the disk.
        """
        self._path, self._first, self._follow = path, first or {}, follow
        with writing(path):
            self._file = open(path or os.devnull, "ab", buffering=0)  # noqa: SIM115  (closed by __exit__)

    def write(self, **values: object) -> None:
        # JSON has no NaN or infinity, so they become null.
        values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        values, self._first = values | self._first, {}
        with writing(self._path):
            write_all(self._file, to_line(values).encode())
        if self._follow:
            self._follow(values)

    def __enter__(self) -> "JsonLog":
        return self

    def __exit__(self, *_) -> None:
        with writing(self._path):
            self._file.close()


def trim_json_log(path: Path, epoch: int, step: int) -> None:
    """Drop the lines that a run resumed at (epoch, step) will write again, and a half-written line."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    kept = []
    for line in lines:
        entry = parsed(line + b"\n")  # a complete line may have lost only its line end
        try:
            before = entry["epoch"] < epoch or (
                entry["epoch"] == epoch and entry["iter"] < step and entry["mode"] != "valid"
            )
        except (TypeError, KeyError):
            continue
        if before:
            kept.append(f"{line.decode()}\n")
    write_text(path, "".join(kept))


def progress_bar(total: int, description: str, initial: int = 0, shown: bool = True):
    """Return a tqdm bar with the time left, on stderr; if that is no terminal, print a line every five seconds.

    With several ranks, rank 0 shows it.
    """
    from tqdm import tqdm

    options = {
        "total": total,
        "desc": harmless(description),
        "initial": initial,
        "dynamic_ncols": True,
        "disable": not shown or env_rank() > 0,
    }
    if sys.stderr.isatty():
        return tqdm(**options, mininterval=0.2, leave=False)
    return tqdm(**options, mininterval=5.0, delay=0.01, file=_Lines())


class _Lines:
    """A file for tqdm that turns each update of a bar into a line on stderr."""

    def write(self, text: str) -> None:
        if text := text.strip():
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()

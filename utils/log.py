"""What people read on the screen and what programs read from the JSON log."""

import json
import math
import sys
import time
from pathlib import Path

from utils.errors import RunError


def say(message: str) -> None:
    """Prints one line at once, past a progress bar if one is shown."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is not None:
        tqdm.tqdm.write(message, file=sys.stdout)
        sys.stdout.flush()
    else:
        print(message, flush=True)


def say_in(mode: str, message: str) -> None:
    """Prints `[MODE yyyy-mm-dd hh:mm:ss] message`, the original's line."""
    say(f"[{mode} {time.strftime('%Y-%m-%d %H:%M:%S')}] {message}")


def format_metrics(means: dict[str, float], names: tuple[str, str, str] = ("Loss", "top1_acc", "top5_acc")) -> str:
    """`Loss: 5.99, top1_acc: 0.39, top5_acc: 1.56`: a mean loss and two percentages."""
    loss, top1, top5 = names
    return f"{loss}: {means['loss']:.6f}, {top1}: {means['top1_acc']:.2f}, {top5}: {means['top5_acc']:.2f}"


class JsonLog:
    """A file of one JSON object per line, each on the disk before the next step begins."""

    def __init__(self, path: Path, append: bool = False):
        self._path = path
        try:
            self._file = open(path, "a" if append else "w", encoding="utf-8")
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from None

    def write(self, **values: object) -> None:
        # NaN and infinity are no JSON; a reader of the log must not stumble over them.
        values = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        try:
            self._file.write(json.dumps(values) + "\n")
            self._file.flush()
        except OSError as error:
            raise RunError(f"{self._path}: cannot be written: {error.strerror}") from None

    def close(self) -> None:
        self._file.close()

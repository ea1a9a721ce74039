"""Scalars of a training run for a board: TensorBoard's or VisualDL's files, as the run's own log has the numbers."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

# Of a line of train_log.jsonl what is no scalar.
_NO_SCALARS = {"mode", "epoch", "iter", "time", "resumed"}


class Board:
    """Writes save_dir/logger anew from the log when the first line comes, and each further line as it comes.

    So a run that goes on has no step twice, in no reader, and none that the log has lost.
    """

    def __init__(self, kind: str, log: Path, steps_per_epoch: int):
        """kind: tensorboard or visualdl, whose package must be there. log: train_log.jsonl, beside which it writes."""
        self._open = _WRITERS[kind]
        self._log, self._steps_per_epoch = log, steps_per_epoch
        self._write: Callable | None = None

    def __call__(self, line: dict) -> None:
        """Adds a line that the log has just got. Raises OSError when it cannot be written."""
        if self._write:
            self._add(line)
            return
        folder = self._log.with_name("logger")
        folder.mkdir(exist_ok=True)
        for pattern in ("events.out.tfevents.*", "vdlrecords.*.log"):
            for old in folder.glob(pattern):
                old.unlink()
        self._write = self._open(folder)
        with open(self._log, encoding="utf-8") as lines:
            for text in lines:
                self._add(json.loads(text))

    def _add(self, line: dict) -> None:
        step = line["epoch"] * self._steps_per_epoch + line["iter"]
        scalars = {
            f"{line['mode']}/{name}": value
            for name, value in line.items()
            if name not in _NO_SCALARS and isinstance(value, int | float) and math.isfinite(value)
        }
        self._write(scalars, step, line.get("time") or time.time())


# Both packages' own writers hand everything to a thread, on which a run waits for ever once a full disk has ended it:
# here a record is written, and on the disk, when the call returns.


def _tensorboard(folder: Path) -> Callable[[dict[str, float], int, float], None]:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    events = EventsWriter(str(folder.resolve() / "events"))

    def write(scalars: dict[str, float], step: int, when: float) -> None:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        events.write_event(Event(wall_time=when, step=step, summary=Summary(value=values)))
        events.flush()

    return write


def _visualdl(folder: Path) -> Callable[[dict[str, float], int, float], None]:
    from visualdl.component.base_component import meta_data, scalar
    from visualdl.writer.record_writer import RecordWriter

    # The same name as VisualDL's own.
    file = open(folder / f"vdlrecords.{int(time.time()):010d}.log", "wb")  # noqa: SIM115  (open as long as the run)
    records = RecordWriter(file)
    start = meta_data(tag="meta_data_tag", display_name="", step=0, walltime=round(1000 * time.time()))
    records.write(start.SerializeToString())

    def write(scalars: dict[str, float], step: int, when: float) -> None:
        for tag, value in scalars.items():
            record = scalar(tag=tag, value=value, step=step, walltime=round(1000 * when))
            records.write(record.SerializeToString())
        records.flush()

    return write


_WRITERS = {"tensorboard": _tensorboard, "visualdl": _visualdl}

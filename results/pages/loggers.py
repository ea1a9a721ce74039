"""Write the numbers of a training log as TensorBoard or VisualDL files."""

import json
import math
import time
from pathlib import Path

# The fields of train_log.jsonl that are not scalars.
_NO_SCALARS = {"mode", "epoch", "iter", "time", "resumed"}


class Logger:
    """Rewrite save_dir/logger from the log when the first line comes, then append each further line.

    So a resumed run has no step twice, and no step that its log has lost.
    """

    def __init__(self, kind: str, log: Path, steps_per_epoch: int):
        """kind: tensorboard or visualdl; its package must be installed. log: train_log.jsonl; output goes beside it."""
        self._open = _WRITERS[kind]
        self._log, self._steps_per_epoch = log, steps_per_epoch
        self._writer: _TensorBoardWriter | _VisualDLWriter | None = None

    def __call__(self, line: dict) -> None:
        """Add a line that was just logged. Raises OSError if it cannot be written."""
        if self._writer:
            self._add(line)
            return
        folder = self._log.with_name("logger")
        folder.mkdir(exist_ok=True)
        for pattern in ("events.out.tfevents.*", "vdlrecords.*.log"):
            for old in folder.glob(pattern):
                old.unlink()
        self._writer = self._open(folder)
        with open(self._log, encoding="utf-8") as lines:
            for text in lines:
                self._add(json.loads(text))

    def close(self) -> None:
        if self._writer:
            self._writer.close()

    def _add(self, line: dict) -> None:
        step = line["epoch"] * self._steps_per_epoch + line["iter"]
        scalars = {
            f"{line['mode']}/{name}": value
            for name, value in line.items()
            if name not in _NO_SCALARS and isinstance(value, int | float) and math.isfinite(value)
        }
        self._writer.add(scalars, step, line.get("time") or time.time())


# The packages' own writers pass everything to a thread. If a full disk ends that thread, a run waits forever. Here, a
# record is on the disk when `add` returns.


class _TensorBoardWriter:
    def __init__(self, folder: Path):
        from tensorboardX.event_file_writer import EventsWriter

        self._events = EventsWriter(str(folder.resolve() / "events"))

    def add(self, scalars: dict[str, float], step: int, when: float) -> None:
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._events.write_event(Event(wall_time=when, step=step, summary=Summary(value=values)))
        self._events.flush()

    def close(self) -> None:
        self._events.close()


class _VisualDLWriter:
    def __init__(self, folder: Path):
        from visualdl.component.base_component import meta_data
        from visualdl.writer.record_writer import RecordWriter

        # Name and first record as VisualDL writes them.
        file = open(folder / f"vdlrecords.{int(time.time()):010d}.log", "wb")  # noqa: SIM115  (closed below)
        self._records = RecordWriter(file)
        start = meta_data(tag="meta_data_tag", display_name="", step=0, walltime=round(1000 * time.time()))
        self._records.write(start.SerializeToString())

    def add(self, scalars: dict[str, float], step: int, when: float) -> None:
        from visualdl.component.base_component import scalar

        for tag, value in scalars.items():
            record = scalar(tag=tag, value=value, step=step, walltime=round(1000 * when))
            self._records.write(record.SerializeToString())
        self._records.flush()

    def close(self) -> None:
        self._records.close()


_WRITERS = {"tensorboard": _TensorBoardWriter, "visualdl": _VisualDLWriter}

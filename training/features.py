"""Features of a frozen network, kept on disk: a record for each view of each video, and batches made of them.

A file grows record by record, each with its checksum: after a kill or a power cut it goes on behind the last whole one.
"""

import os
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from reader.loader import Batch
from utils.files import writing

_REASON_BYTES = 240
_RECORDS_AT_ONCE = 1024  # read, or copied
_FLUSH_SECONDS = 1.0


def record_type(shape: tuple[int, ...]) -> np.dtype:
    """A record: its checksum; position and label of the video that was read; why the one asked for was not; features.

    float16 costs them 2^-11 of their value, an eighth of what bfloat16 arithmetic does. `video` is -1 where nothing
    was read, `reason` is UTF-8.
    """
    facts = [("checksum", "<u4"), ("video", "<i8"), ("label", "<i8"), ("reason", f"S{_REASON_BYTES}")]
    return np.dtype([*facts, ("features", "<f2", shape)])


def records_of(dtype: np.dtype, batch: Batch, features: np.ndarray, asked: Sequence[int], replaced: bool) -> np.ndarray:
    """The records of a batch for the positions `asked`, features [N, *shape] being those of the videos read.

    replaced: another video was read in place of each unreadable one.
    """
    reasons, rows = dict(batch.unreadable), iter(zip(batch.indices, batch.labels, features))
    records = np.zeros(len(asked), dtype)
    records["video"] = -1
    for record, position in zip(records, asked):
        record["reason"] = reasons.get(position, "").encode("utf-8", "replace")[:_REASON_BYTES]
        if replaced or position not in reasons:
            record["video"], record["label"], record["features"] = next(rows)
    for record in records:
        record["checksum"] = _checksum(record)
    return records


def whole_records(path: Path, dtype: np.dtype) -> int:
    """How many records from the beginning of the file on are whole; what comes behind them is cut off."""
    if not path.exists():
        return 0
    whole, good = 0, True
    with open(path, "r+b") as file:
        while good and (block := file.read(_RECORDS_AT_ONCE * dtype.itemsize)):
            for record in np.frombuffer(block, dtype, len(block) // dtype.itemsize):
                good = _checksum(record) == int(record["checksum"])
                if not good:
                    break
                whole += 1
        file.truncate(whole * dtype.itemsize)
    return whole


def append_records(path: Path, batches: Iterable[np.ndarray]) -> None:
    """Adds records to the file; they are on the disk within a second. Raises RunError when they cannot be written."""
    with writing(path), open(path, "ab") as file:
        flushed = time.monotonic()
        for records in batches:
            file.write(records.tobytes())
            if time.monotonic() - flushed >= _FLUSH_SECONDS:
                _flush(file)
                flushed = time.monotonic()
        _flush(file)


def join_records(path: Path, parts: Sequence[Path], dtype: np.dtype) -> None:
    """Makes one file of R ranks' parts, record j being number j // R of part j % R, and deletes them. Raises RunError.

    Only the last records of the parts may be missing.
    """
    with writing(path):
        if len(parts) == 1:
            os.replace(parts[0], path)
            return
        files = [open_records(part, dtype) if part.stat().st_size else np.empty(0, dtype) for part in parts]
        unfinished = path.with_name(f".{path.name}.tmp")
        with open(unfinished, "wb") as file:
            for start in range(0, max(map(len, files)), _RECORDS_AT_ONCE):
                blocks = [records[start : start + _RECORDS_AT_ONCE] for records in files]
                joined = np.empty(sum(map(len, blocks)), dtype)
                for rank, block in enumerate(blocks):
                    joined[rank :: len(blocks)] = block
                file.write(joined.tobytes())
            _flush(file)
        os.replace(unfinished, path)
        for part in parts:
            part.unlink()


def open_records(path: Path, dtype: np.dtype) -> np.ndarray:
    """All records of a file, read from the disk as they are asked for."""
    return np.memmap(path, dtype, "r")


def _checksum(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[4:])


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


class FeatureLoader:
    """The batches of reader.loader.Loader with kept features, float32 [N, *shape], in place of the frames."""

    def __init__(self, records: np.ndarray, batch_size: int, views: int = 1, seed: int = 0):
        """records: view 0 of every video, then view 1, and so on. seed: of where each video begins with its views."""
        self._records, self.batch_size, self._views = records, batch_size, views
        self._videos = len(records) // views
        self._first = np.random.default_rng([seed, 0xFEA]).integers(views, size=self._videos)

    def batches(self, order: Sequence[int], epoch: int = 0) -> Iterator[Batch]:
        """As Loader.batches: from epoch to epoch, and where position + k * length is asked, a video's next view."""
        for start in range(0, len(order), self.batch_size):
            asked = np.array(order[start : start + self.batch_size])
            video = asked % self._videos
            view = (self._first[video] + epoch + asked // self._videos) % self._views
            records = self._records[view * self._videos + video]
            read = records[records["video"] >= 0]
            reasons = zip(video.tolist(), records["reason"].tolist())
            unreadable = [(position, reason.decode("utf-8", "ignore")) for position, reason in reasons if reason]
            yield Batch(read["features"].astype(np.float32), read["label"], read["video"].tolist(), unreadable)

"""Keep features of a frozen network on disk, a record for each view of each video, and make batches of them.

A record has its checksum, its job's number, and the signature of its video's file. In the main file, a record stands
at the place of its number. Ranks other than 0 collect theirs in parts, which are merged later. However a run ends, the
next one computes only records that are missing, torn or outdated.
"""

import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reader.loader import Batch
from utils.errors import RunError
from utils.storage.files import write_all, writing
from utils.storage.lock import open_locked

FOLDER = "features"  # of TRAIN.save_dir
_REASON_BYTES = 240
_RECORDS_AT_ONCE = 1024  # read or copied at once
_FLUSH_SECONDS = 1.0
NO_FILE = (-1, -1)  # replaces the signature of a remote or missing video


def record_type(shape: tuple[int, ...], label: np.dtype | str = "<i8") -> np.dtype:
    """Return the type of a record.

    It holds the checksum; the job's number; position, label and file signature of the video that was read; the reason
    why the requested one was not; the features. float16 costs the features 2^-11 of their value, an eighth of the error
    of bfloat16 arithmetic. `video` is -1 if nothing was read, `reason` is UTF-8. label: a label's type, see
    reader/labels.py.
    """
    facts = [("checksum", "<u4"), ("job", "<i8"), ("video", "<i8"), ("label", label), ("file", "<i8", 2)]
    return np.dtype([*facts, ("reason", f"S{_REASON_BYTES}"), ("features", "<f2", shape)])


def records_of(
    dtype: np.dtype, batch: Batch, features: np.ndarray, jobs: Sequence[int], videos: int, replaced: bool
) -> np.ndarray:
    """Return the records of a batch for `jobs`. Job j has video j % videos. features: [N, *shape] of the videos read.

    replaced: another video was read in place of each unreadable one.
    """
    reasons, rows = dict(batch.unreadable), iter(zip(batch.indices, batch.labels, batch.files, features))
    records = np.zeros(len(jobs), dtype)
    records["job"], records["video"], records["file"] = jobs, -1, NO_FILE
    for record, job in zip(records, jobs):
        position = job % videos
        record["reason"] = reasons.get(position, "").encode("utf-8", "replace")[:_REASON_BYTES]
        if replaced or position not in reasons:
            record["video"], record["label"], file, record["features"] = next(rows)
            record["file"] = file or NO_FILE
    for record in records:
        record["checksum"] = _checksum(record)
    return records


@dataclass(frozen=True)
class Missing:
    """The jobs to compute, and the numbers of outdated records among them."""

    jobs: np.ndarray  # int64, rising
    unreadable: int  # their videos could not be read but may be readable now
    changed: int  # their videos' files have changed


def missing_jobs(path: Path, dtype: np.dtype, jobs: int, files: np.ndarray) -> Missing:
    """Return the jobs that the file lacks. files: int64 [videos, 2], the current signatures."""
    good = np.zeros(jobs, bool)
    unreadable = changed = 0
    for records in _blocks(path, dtype):
        for place, record in records:
            job = int(record["job"])
            if job != place or job >= jobs:
                continue
            if record["reason"]:
                unreadable += 1
            elif (record["file"] != files[job % len(files)]).any():
                changed += 1
            else:
                good[job] = True
    return Missing(np.flatnonzero(~good), unreadable, changed)


def put_records(path: Path, batches: Iterable[np.ndarray]) -> None:
    """Write each record to its place, and to the disk within a second. Raises RunError if that fails."""
    with writing(path), open(path, "r+b" if path.exists() else "w+b") as file:

        def put(records: np.ndarray) -> None:
            for record in records:
                file.seek(int(record["job"]) * records.dtype.itemsize)
                file.write(record.tobytes())

        _write_and_flush(batches, put, lambda: (file.flush(), os.fsync(file.fileno())))


def append_records(path: Path, batches: Iterable[np.ndarray]) -> None:
    """Fill a part with the records, as `put_records` does. It is locked: a killed run's process may still hold it."""
    with writing(path), open_locked(path) as file:
        file.truncate(0)
        _write_and_flush(batches, lambda records: write_all(file, records.tobytes()), lambda: os.fsync(file.fileno()))


def _write_and_flush(
    batches: Iterable[np.ndarray], write: Callable[[np.ndarray], None], flush: Callable[[], object]
) -> None:
    flushed = time.monotonic()
    for records in batches:
        write(records)
        if time.monotonic() - flushed >= _FLUSH_SECONDS:
            flush()
            flushed = time.monotonic()
    flush()


def take_in(path: Path, part: Path, dtype: np.dtype, jobs: int) -> int:
    """Move the records of a part to their places, remove it, and return their number. Raises RunError."""
    number = 0

    def batches() -> Iterator[np.ndarray]:
        nonlocal number
        for records in _blocks(part, dtype):
            ours = [record for _, record in records if 0 <= record["job"] < jobs]
            number += len(ours)
            yield np.array(ours, dtype)

    put_records(path, batches())
    part.unlink()
    return number


def _blocks(path: Path, dtype: np.dtype) -> Iterator[list[tuple[int, np.void]]]:
    """Yield blocks of (place in the file, record) for the whole records."""
    if not path.exists():
        return
    place = 0
    with open(path, "rb") as file:
        while block := file.read(_RECORDS_AT_ONCE * dtype.itemsize):
            records = np.frombuffer(block, dtype, len(block) // dtype.itemsize)
            whole = ((place + i, record) for i, record in enumerate(records))
            yield [(at, record) for at, record in whole if _checksum(record) == int(record["checksum"])]
            place += len(records)


def open_records(path: Path, dtype: np.dtype, number: int) -> np.ndarray:
    """Return all records of a file, read from the disk on access. Raises RunError if there are not `number`."""
    if (size := path.stat().st_size) != number * dtype.itemsize:
        raise RunError(
            f"{path}: holds {size / dtype.itemsize:g} records where {number} belong: remove it, and run again"
        )
    return np.memmap(path, dtype, "r")


def _checksum(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[4:])


class FeatureLoader:
    """Batches as from reader.loader.Loader, with kept features float32 [N, *shape] instead of frames."""

    num_workers = 0  # nothing is decoded

    def __init__(self, records: np.ndarray, batch_size: int, views: int = 1, seed: int = 0):
        """Take `records`: view 0 of every video, then view 1, and so on. seed: chooses each video's first view."""
        self._records, self.batch_size, self._views = records, batch_size, views
        self._videos = len(records) // views
        self._first = np.random.default_rng([seed, 0xFEA]).integers(views, size=self._videos)

    def batches(self, order: Sequence[int], epoch: int = 0) -> Iterator[Batch]:
        """Yield batches as Loader.batches does. Each epoch, and each round of positions, gives a video's next view."""
        for start in range(0, len(order), self.batch_size):
            asked = np.array(order[start : start + self.batch_size])
            video = asked % self._videos
            view = (self._first[video] + epoch + asked // self._videos) % self._views
            records = self._records[view * self._videos + video]
            read = records[records["video"] >= 0]
            reasons = zip(video.tolist(), records["reason"].tolist())
            unreadable = [(position, reason.decode("utf-8", "ignore")) for position, reason in reasons if reason]
            positions = read["video"].tolist()
            files = [None] * len(positions)
            yield Batch(read["features"].astype(np.float32), read["label"], positions, unreadable, files)

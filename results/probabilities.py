"""Read and write probabilities.npz: every class's probability for the readable videos, from one network or a mean.

paths          text [N], in the order of the list
labels         int64 [N]; with many labels uint8 [N, K], 0 or 1
names          text [K], of the classes
probabilities  float32 [N, K]
thresholds     float64 [K], the least probability at which a class is named; only with many labels
"""

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from results.feature_file import PROBABILITIES, FeatureFile
from utils.errors import InputError, os_errors
from utils.storage.files import write_atomic

NAME = f"{PROBABILITIES}.npz"
_AT_ONCE = 1024  # videos


class Probabilities(NamedTuple):
    """The contents of the file."""

    paths: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    probabilities: np.ndarray
    thresholds: np.ndarray | None = None


def write_probabilities(
    folder: Path,
    paths: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    names: Sequence[str],
    pieces: Iterable[np.ndarray],
    thresholds: Sequence[float] | None = None,
) -> None:
    """Write the file. pieces: [n, K] of consecutive videos; one is held at a time. Raises RunError."""
    arrays = {"paths": np.asarray(paths, str), "names": np.asarray(names, str)}
    if thresholds is None:
        arrays["labels"] = np.asarray(labels, np.int64)
    else:
        arrays |= {"labels": np.asarray(labels, np.uint8), "thresholds": np.asarray(thresholds, np.float64)}

    def write(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w") as archive:
            for name, values in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, values)
            with archive.open("probabilities.npy", "w", force_zip64=True) as file:
                about = {"descr": "<f4", "fortran_order": False, "shape": (len(paths), len(names))}
                np.lib.format.write_array_header_1_0(file, about)
                for piece in pieces:
                    file.write(piece.astype("<f4").tobytes())

    write_atomic(folder / NAME, write)


def write_rows_probabilities(folder: Path, rows: Iterable[dict], kept: FeatureFile, names: Sequence[str]) -> None:
    """Write the file for the rows without an error of an evaluation, see inference/rows.py. Raises RunError.

    kept: holds the probabilities by position. Only paths, labels and positions of the rows are held.
    """
    readable = [(row["position"], row["video"], row["label"]) for row in rows if "error" not in row]
    positions, paths, labels = zip(*readable) if readable else ((), (), ())

    def pieces() -> Iterator[np.ndarray]:
        for first in range(0, len(positions), _AT_ONCE):
            some = positions[first : first + _AT_ONCE]
            yield kept.read(some[0], some[-1] + 1)[np.subtract(some, some[0])]

    write_probabilities(folder, paths, labels, names, pieces())


def read_probabilities(folder: str) -> Probabilities:
    """Return the probabilities that eval.py left in a folder. Raises InputError if they are missing or damaged."""
    path = Path(folder) / NAME
    with os_errors(InputError, f"{path}: cannot be read"):
        try:
            with np.load(path, allow_pickle=False) as file:
                optional = [file["thresholds"]] if "thresholds" in file.files else []
                found = Probabilities(*(file[name] for name in Probabilities._fields[:4]), *optional)
        except (ValueError, TypeError, AttributeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: damaged, or not eval.py's: {' '.join(str(error).split())[:200]}") from None
    shape, values = (len(found.paths), len(found.names)), found.probabilities
    size = f"{list(values.shape)} of {shape[0]} videos and {shape[1]} classes"
    of_labels = shape[:1] if found.thresholds is None else shape
    if values.shape != shape or values.dtype != np.float32 or found.labels.shape != of_labels:
        raise InputError(f"{path}: damaged: probabilities {size}")
    if found.thresholds is not None and (found.thresholds.shape != shape[1:] or found.thresholds.dtype != np.float64):
        raise InputError(f"{path}: damaged: thresholds {list(found.thresholds.shape)} of {shape[1]} classes")
    if not (np.isfinite(values) & (values >= 0)).all():
        raise InputError(f"{path}: damaged: not all of its numbers are probabilities")
    return found

"""Write the answers for a list as one Parquet dataset, for pyarrow, pandas and other tools that read it as a table.

predictions.parquet/part-000000.parquet ...  by predict.py: videos in list order, the same number in each part
evaluation.parquet/part-000000.parquet ...   by eval.py: each video's label and the probabilities of all classes
"""

import os
import shutil
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from results.feature_file import FeatureFile
from utils.packages import import_extra
from utils.storage.files import rename, write_atomic, writing

FINAL, EVALUATION = "predictions.parquet", "evaluation.parquet"
# Hidden, so that nobody uploads them. Because the names are fixed, the next run can remove a killed run's files.
UNFINISHED = f".{FINAL}.tmp", f".{EVALUATION}.tmp"
_EVALUATED_AT_ONCE = 1000  # videos


def open_pyarrow():
    """Return the module pyarrow. Raises InputError if it cannot be imported."""
    import_extra("pyarrow.parquet", "--format=parquet", "requirements-cluster.txt", "pyarrow")
    return sys.modules["pyarrow"]


def prediction_schema(features: FeatureFile | None = None):
    """Return the columns. They are explicit, because a part with unreadable videos only would get different ones.

    features: float16 or float32, a list of F numbers or T lists of F numbers; null for an unreadable video.
    """
    pa = open_pyarrow()
    best = pa.struct([("class_id", pa.int32()), ("label", pa.string()), ("probability", pa.float64())])
    columns = [
        ("position", pa.int64()),
        ("video", pa.string()),
        ("error", pa.string()),  # null for a readable video
        ("predictions", pa.list_(best)),  # best first; null for an unreadable video
    ]
    if features is not None:
        kind = pa.from_numpy_dtype(features.dtype)
        for size in reversed(features.row_shape):
            kind = pa.list_(kind, size)
        columns.append((features.name, kind))
    return pa.schema(columns)


def write_parquet(folder: Path, rows: Iterable[dict], features: FeatureFile | None, rows_per_part: int) -> int:
    """Write the dataset completely or not at all, and return the number of unreadable videos.

    rows: in the order of the list, see inference/rows.py. Only `rows_per_part` of them are held.

    Raises InputError without pyarrow, RunError if a file cannot be written.
    """
    return _write_parts(folder / FINAL, rows, features, prediction_schema(features), rows_per_part)


def write_evaluation_parquet(folder: Path, rows: Iterable[dict], kept: FeatureFile | None, num_classes: int) -> None:
    """Write the dataset of an evaluation: each video's label, and its probabilities, null for an unreadable video.

    rows: in the order of the list, see inference/rows.py. kept: holds their probabilities by position; None: rows with
    many labels hold their own.

    Raises InputError without pyarrow, RunError if a file cannot be written.
    """
    pa = open_pyarrow()
    label = ("label", pa.int32()) if kept else ("labels", pa.list_(pa.int32()))
    probabilities = ("probabilities", pa.list_(pa.float32(), num_classes))
    schema = pa.schema([("position", pa.int64()), ("video", pa.string()), ("error", pa.string()), label, probabilities])
    _write_parts(folder / EVALUATION, rows, kept, schema, _EVALUATED_AT_ONCE)


def _write_parts(
    final: Path, rows: Iterable[dict], features: FeatureFile | None, schema: object, rows_per_part: int
) -> int:
    """Write a dataset in parts, and return the number of unreadable videos."""
    unfinished, rows, unreadable, number = final.with_name(f".{final.name}.tmp"), iter(rows), 0, 0
    shutil.rmtree(unfinished, ignore_errors=True)
    with writing(final):
        unfinished.mkdir()
        while chunk := list(islice(rows, rows_per_part)):
            table = _table(chunk, features, schema)
            write_atomic(unfinished / f"part-{number:06d}.parquet", lambda path, table=table: _write(table, path))
            unreadable += sum("error" in row for row in chunk)
            number += 1
        shutil.rmtree(final, ignore_errors=True)
        rename(unfinished, final)
    return unreadable


def _table(rows: list[dict], features: FeatureFile | None, schema):
    pa = open_pyarrow()
    known = [{**row, "video": os.fsencode(row["video"]).decode(errors="replace")} for row in rows]
    names = [name for name in schema.names if features is None or name != features.name]
    columns = [pa.array([row.get(name) for row in known], schema.field(name).type) for name in names]
    if features is not None:
        columns.append(_feature_column(rows, features, schema.field(features.name).type))
    return pa.Table.from_arrays(columns, schema=schema)


def _feature_column(rows: list[dict], features: FeatureFile, kind):
    pa = open_pyarrow()
    values = features.read(rows[0]["position"], rows[-1]["position"] + 1)
    column = pa.array(values.reshape(-1))
    for size in reversed(features.row_shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    unreadable = pa.array(["error" in row for row in rows])
    return pa.FixedSizeListArray.from_arrays(column, type=kind, mask=unreadable)


def _write(table, path: Path) -> None:
    import pyarrow.parquet

    pyarrow.parquet.write_table(table, path)

"""predictions.parquet as pyarrow and pandas read it."""

import os

import numpy as np
import pytest

from results import parquet
from results.feature_file import FeatureFile
from utils.errors import InputError, RunError
from utils.processes.ranks import World

pq = pytest.importorskip("pyarrow.parquet", reason="pip install -r requirements-cluster.txt")


def row(position):
    if position % 3 == 1:
        return {"position": position, "video": f"{position}.mp4", "error": "damaged"}
    best = [{"class_id": k, "label": f"c{k}", "probability": 0.5 / (k + 1)} for k in (2, 0)]
    return {"position": position, "video": f"é {position}.mp4", "predictions": best}


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("shape", [(4,), (2, 4)])
@pytest.mark.parametrize("ranks", [1, 2])
def test_the_whole_dataset(tmp_path, dtype, shape, ranks):
    values = np.random.default_rng(0).normal(size=(7, *shape)).astype(dtype)
    for rank in reversed(range(ranks)):
        features = FeatureFile(tmp_path, range(rank, 7, ranks), shape, dtype, World(rank, ranks))
        features.open(0)
        for position in range(rank, 7, ranks):
            features.write(position, values[position : position + 1])
    (tmp_path / ".predictions.parquet.tmp").mkdir()  # of a run that was killed
    (tmp_path / "predictions.parquet").mkdir()
    (tmp_path / "predictions.parquet" / "part-000009.parquet").touch()  # of an earlier run
    assert parquet.write_parquet(tmp_path, map(row, range(7)), features, 3) == 2
    features.discard()
    assert os.listdir(tmp_path) == ["predictions.parquet"]
    folder = tmp_path / "predictions.parquet"
    assert sorted(os.listdir(folder)) == [f"part-{i:06d}.parquet" for i in range(3)]
    assert [pq.read_metadata(folder / name).num_rows for name in sorted(os.listdir(folder))] == [3, 3, 1]

    table = pq.read_table(folder)
    number = "halffloat" if dtype == "float16" else "float"
    assert [str(field.type) for field in table.schema][:3] == ["int64", "string", "string"]
    assert str(table.schema.field("predictions").type).startswith("list<") and number in str(table.schema[4].type)
    for i, found in enumerate(table.to_pylist()):
        kept = found.pop("features")
        assert {key: value for key, value in found.items() if value is not None} == row(i)
        assert kept is None if "error" in row(i) else np.array_equal(np.array(kept, dtype), values[i])


def test_pandas_reads_it(tmp_path):
    pandas = pytest.importorskip("pandas")
    features = FeatureFile(tmp_path, range(4), (3,), "float16")
    features.open(0)
    features.write(0, np.ones((4, 3), "float16"))
    parquet.write_parquet(tmp_path, map(row, range(4)), features, 2)
    frame = pandas.read_parquet(tmp_path / "predictions.parquet")
    assert frame["position"].tolist() == [0, 1, 2, 3]
    assert frame["error"].isna().tolist() == [True, False, True, True]
    assert frame["features"][0].tolist() == [1, 1, 1] and frame["features"][1] is None
    assert frame["predictions"][2][0] == {"class_id": 2, "label": "c2", "probability": 0.5 / 3}


def test_a_part_without_readable_videos_has_the_same_columns(tmp_path):
    parquet.write_parquet(tmp_path, [row(1), row(2)], None, 1)
    first, second = (pq.read_schema(path) for path in sorted((tmp_path / "predictions.parquet").iterdir()))
    assert first == second == parquet.prediction_schema()


def test_a_path_that_is_no_utf_8(tmp_path):
    parquet.write_parquet(tmp_path, [{**row(0), "video": os.fsdecode(b"a\xff.mp4")}], None, 1)
    assert pq.read_table(tmp_path / "predictions.parquet")["video"].to_pylist() == ["a\ufffd.mp4"]


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(RunError, match="predictions.parquet: cannot be written: No such file or directory"):
        parquet.write_parquet(tmp_path / "missing", [row(0)], None, 1)


def test_without_pyarrow(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(InputError, match="needs the package pyarrow, which is not installed: pip install -r "):
        parquet.open_pyarrow()

"""The Parquet datasets of predict.py and eval.py, read by pyarrow and pandas."""

import os

import numpy as np
import pytest

from conftest import run_script, says
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
    (tmp_path / ".predictions.parquet.tmp").mkdir()  # of a killed run
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


@pytest.mark.parametrize("many", [False, True])
def test_an_evaluation(tmp_path, monkeypatch, many):
    values = np.random.default_rng(0).random((5, 3)).astype("float32")

    def evaluated(position: int) -> dict:
        found = {"position": position, "video": f"{position}.mp4"}
        found |= {"labels": [0, 2]} if many else {"label": 2}
        if position == 3:
            return found | {"error": "damaged"}
        return found | ({"probabilities": values[position].tolist()} if many else {"probability": 0.5, "rank": 1})

    kept = None if many else FeatureFile(tmp_path, range(5), (3,), "float32", name="probabilities")
    if kept:
        kept.open(0)
        kept.write(0, values)
    monkeypatch.setattr(parquet, "_EVALUATED_AT_ONCE", 2)
    parquet.write_evaluation_parquet(tmp_path, map(evaluated, range(5)), kept, 3)
    folder = tmp_path / "evaluation.parquet"
    assert [pq.read_metadata(folder / name).num_rows for name in sorted(os.listdir(folder))] == [2, 2, 1]
    label = "labels" if many else "label"
    expected = [
        {"position": i, "video": f"{i}.mp4", "error": "damaged" if i == 3 else None, label: evaluated(i)[label],
         "probabilities": None if i == 3 else values[i].tolist()}
        for i in range(5)
    ]  # fmt: skip
    assert pq.read_table(folder).to_pylist() == expected


def test_a_path_that_is_no_utf_8(tmp_path):
    parquet.write_parquet(tmp_path, [{**row(0), "video": os.fsdecode(b"a\xff.mp4")}], None, 1)
    assert pq.read_table(tmp_path / "predictions.parquet")["video"].to_pylist() == ["a\ufffd.mp4"]


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(RunError) as error:
        parquet.write_parquet(tmp_path / "missing", [row(0)], None, 1)
    says(error.value, f"{tmp_path}/missing/predictions.parquet: ", "No such file or directory")


def test_eval_writes_it_beside_probabilities(workspace, tmp_path):
    folder, how = workspace.folder, [workspace.config, workspace.weights, "--report=False", "--format=parquet"]
    ended = run_script("eval", *how, f"--save_dir={tmp_path}", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    with np.load(tmp_path / "probabilities.npz") as file:
        paths, labels, probabilities = (file[name].tolist() for name in ("paths", "labels", "probabilities"))
    rows = [row for row in pq.read_table(tmp_path / "evaluation.parquet").to_pylist() if row["error"] is None]
    assert [row["video"] for row in rows] == paths and [row["label"] for row in rows] == labels
    assert [row["probabilities"] for row in rows] == probabilities and rows
    again = run_script("eval", *how[:3], f"--save_dir={tmp_path}", cwd=folder)
    assert again.returncode == 0 and not (tmp_path / "evaluation.parquet").exists(), again.stderr
    assert f"{tmp_path}: removed files of an earlier run: evaluation.parquet" in again.stdout


def test_several_networks_have_no_such_dataset(workspace, tmp_path):
    two = f"--weights={workspace.folder}/random.pdparams,{workspace.folder}/random.pdparams"
    ended = run_script("eval", workspace.config, two, "--format=parquet", f"--save_dir={tmp_path}/out")
    assert ended.returncode == 2 and not (tmp_path / "out").exists()
    says(ended.stderr, "error: --format=parquet ", "one network only", "probabilities.npz")


def test_without_pyarrow(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(InputError) as error:
        parquet.open_pyarrow()
    says(error.value, "--format=parquet ", "pyarrow", "pip install -r ")

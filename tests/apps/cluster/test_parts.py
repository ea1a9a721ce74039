"""Parts of shards are complete or missing, and join the journal by position, in a folder and in object storage."""

import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from apps.cluster.parts import Assembly, Parts, write_part
from apps.cluster.shards import cut
from conftest import says
from inference.rows import PREDICTION
from results.feature_file import FeatureFile
from results.journal import read_rows
from results.list_run import ListRun
from utils.config.flags import Flags
from utils.errors import RunError

HEAD = {"script": "predict", "videos": 10}
SHARDS = cut(HEAD, 4)


def rows(first, last):
    return [{"position": i, "video": f"s3://b/{i}.mp4", "file": None, "predictions": []} for i in range(first, last)]


def make(parts, shard, broken=False):
    def batches():
        yield rows(shard.first, shard.first + 2)
        if broken:
            raise RunError("broken")
        yield rows(shard.first + 2, shard.last)

    with parts.making() as folder:
        features = FeatureFile(folder, range(shard.first, shard.last), (3,), "float32")
        features.open(0)
        features.write(shard.first, np.full((len(shard), 3), shard.index, "float32"))
        write_part(parts, shard, features, batches(), folder)


@pytest.fixture
def journal(tmp_path):
    features = FeatureFile(tmp_path, range(10), (3,), "float32")
    flags = Flags("predict", "", save_dir=str(tmp_path))
    with ListRun(PREDICTION, flags, HEAD, 2, features=features) as run:
        yield run.journal, features


@pytest.fixture(params=["folder", "object storage"])
def save_dir(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path)
    request.getfixturevalue("store")
    return f"s3://clips/{uuid.uuid4().hex}"


def test_parts_are_joined_in_order(save_dir, journal, tmp_path):
    journal, features = journal
    parts = Parts(save_dir)
    assembly = Assembly(parts, SHARDS, journal, features)
    assert assembly.missing == SHARDS and parts.files() == set()
    for index, known in ((2, 0), (0, 4), (1, 10)):
        make(parts, SHARDS[index])
        assembly.add(SHARDS[index])
        assert journal.known.count == known
    assert list(read_rows(journal.path)) == rows(0, 10)
    assert np.load(features.path)[:, 0].tolist() == [0] * 4 + [1] * 4 + [2] * 2
    parts.remove(parts.files())
    assert parts.files() == set()
    assert not (tmp_path / "parts").exists()


def test_what_is_known_is_not_computed_again(save_dir, journal):
    journal, features = journal
    parts = Parts(save_dir)
    make(parts, SHARDS[1])
    make(parts, cut({**HEAD, "weights": "others"}, 4)[2])
    features.write(0, np.full((2, 3), 7, "float32"))
    journal.append(rows(0, 2))  # a run on one machine ended within shard 0
    assembly = Assembly(parts, SHARDS, journal, features)
    assert assembly.missing == [SHARDS[0], SHARDS[2]]
    assert parts.files() == {SHARDS[1].name + ".jsonl", SHARDS[1].name + ".npy"}
    make(parts, SHARDS[0])
    assembly.add(SHARDS[0])
    assert list(read_rows(journal.path)) == rows(0, 8)


def test_a_part_that_fails_leaves_nothing(save_dir, journal):
    parts = Parts(save_dir)
    with pytest.raises(RunError, match="broken"):
        make(parts, SHARDS[0], broken=True)
    assert parts.files() == set()


def test_a_part_without_features_is_none(tmp_path, journal):
    parts = Parts(str(tmp_path))
    make(parts, SHARDS[0])
    (tmp_path / "parts" / f"{SHARDS[0].name}.npy").unlink()
    (tmp_path / "parts" / ".left by a killed worker").mkdir()
    assert Assembly(parts, SHARDS, *journal).missing == SHARDS
    assert parts.files() == set()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[content.index(b"\n") + 1 :],
        lambda content: content[:-5],
        lambda content: content[:40] + bytes(40) + content[80:],
        lambda content: b"[0]\n" + content,
        lambda content: b"{}\n" + content,
    ],
)
def test_a_part_with_other_rows_or_a_damaged_one(tmp_path, journal, damage):
    parts = Parts(str(tmp_path))
    make(parts, SHARDS[0])
    path = tmp_path / "parts" / f"{SHARDS[0].name}.jsonl"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError) as error:
        Assembly(parts, SHARDS, *journal)
    says(error.value, f"{path}: ", "the rows of its shard", "remove it", "run the command again")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "parts").touch()
    with pytest.raises(RunError, match=r"parts: cannot be written: File exists"), Parts(str(tmp_path)).making():
        pass
    assert Path(os.path.abspath(tmp_path / "parts")).is_file()

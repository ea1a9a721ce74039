"""features.npy has a row per video, NaN for unreadable ones; interrupted runs write the same file."""

import os

import numpy as np
import pytest

from conftest import largest_file, says
from inference.rows import RowKind
from reader.loader import Batch
from results.feature_file import FeatureFile, remove_partial_features
from results.list_run import ListRun
from utils.config.flags import Flags
from utils.errors import RunError
from utils.processes.ranks import World

N, T, F = 7, 3, 5
FEATURES = np.random.default_rng(0).normal(0, 1, (N, T, F)).astype(np.float32)
BAD = (1, 2, 6)


def batches(order: range, size: int = 2):
    """Yield (batch, its features); positions 1, 2 and 6 cannot be read."""
    for start in range(0, len(order), size):
        asked = order[start : start + size]
        good = [i for i in asked if i not in BAD]
        yield Batch(np.empty(0), np.empty(0), good, [(i, "bad") for i in asked if i in BAD]), FEATURES[good]


def expected(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rows = FEATURES.mean(axis=1) if len(shape) == 1 else FEATURES.copy()
    rows[list(BAD)] = np.nan
    return rows.astype(dtype)


@pytest.mark.parametrize("shape", [(F,), (T, F)])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
def test_rows_are_where_the_list_has_their_videos(tmp_path, shape, dtype, ranks):
    for rank in reversed(range(ranks)):
        order = range(rank, N, ranks)
        file = FeatureFile(tmp_path, order, shape, dtype, World(rank, ranks))
        assert file.open(0)
        for batch in batches(order):
            file.put(*batch)
    assert not (tmp_path / "features.npy").exists()
    file.finish()
    file.discard()
    assert os.listdir(tmp_path) == ["features.npy"]
    found = np.load(tmp_path / "features.npy", mmap_mode="r")
    assert (found.shape, found.dtype) == ((N, *shape), dtype)
    assert np.array_equal(found, expected(shape, dtype), equal_nan=True)


def test_files_that_another_run_has_left_are_removed(tmp_path):
    for name in ("features.partial.npy", "features.partial.rank2.npy", "features.npy"):
        (tmp_path / name).touch()
    remove_partial_features(tmp_path, "features", keep=[tmp_path / "features.partial.npy"])
    assert sorted(os.listdir(tmp_path)) == ["features.npy", "features.partial.npy"]


def test_all_unreadable(tmp_path):
    """The loader gives such a batch no features."""
    file = FeatureFile(tmp_path, range(2), (F,), "float32")
    file.open(0)
    file.put(Batch(np.empty(0), np.empty(0), [], [(0, "bad"), (1, "bad")]), np.empty((0, 1, 1), np.float32))
    assert np.isnan(np.load(file.path)).all()


@pytest.mark.parametrize("known", [2, 4, 6])
def test_a_run_goes_on(tmp_path, known):
    whole, ended = (FeatureFile(tmp_path / name, range(N), (F,), "float32") for name in ("whole", "ended"))
    for file in (whole, ended):
        file.path.parent.mkdir()
        file.open(0)
    for batch in batches(range(N)):
        whole.put(*batch)
    for batch in list(batches(range(N)))[: known // 2 + 1]:  # the journal does not have the last one yet
        ended.put(*batch)
    again = FeatureFile(ended.path.parent, range(N), (F,), "float32")
    assert again.open(known)
    for batch in list(batches(range(N)))[known // 2 :]:
        again.put(*batch)
    assert ended.path.read_bytes() == whole.path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b"no header" * 100),
        lambda path: np.save(path, np.zeros((N, F), np.float16)),
        lambda path: np.save(path, np.zeros((N, F + 1), np.float32)),
    ],
)
def test_a_file_that_is_not_the_runs_is_not_taken_up(tmp_path, damage):
    file = FeatureFile(tmp_path, range(N), (F,), "float32")
    file.open(0)
    damage(file.path)
    assert not FeatureFile(tmp_path, range(N), (F,), "float32").open(2)


def test_rows_without_their_features_are_computed_again(tmp_path, capsys):
    def run() -> int:
        features = FeatureFile(tmp_path, range(N), (F,), "float32")
        flags = Flags("predict", "", save_dir=str(tmp_path))
        kind = RowKind("predictions", "prediction", ("x",))
        with ListRun(kind, flags, {"script": "predict", "videos": N}, 2, features=features) as run:
            known = run.journal.known.count
            run.journal.append(
                {"position": i, "video": "s3://b/a", "file": None, "x": 1} for i in range(known, known + 2)
            )
        return known

    assert (run(), run()) == (0, 2)
    (tmp_path / "features.partial.npy").unlink()
    capsys.readouterr()
    assert (run(), run()) == (0, 2)
    first = capsys.readouterr().out.splitlines()[0]
    says(first, f"{tmp_path / 'predictions.partial.jsonl'}: ", "features.partial.npy", "starting anew")


def test_a_run_that_ended_between_its_last_two_renamings(tmp_path):
    file = FeatureFile(tmp_path, range(N), (F,), "float32")
    file.open(0)
    for batch in batches(range(N)):
        file.put(*batch)
    content = file.path.read_bytes()
    file.finish()
    again = FeatureFile(tmp_path, range(N), (F,), "float32")
    assert again.open(N)
    again.finish()
    assert (tmp_path / "features.npy").read_bytes() == content


def test_there_is_room_for_all_rows_before_the_first_is_computed(tmp_path):
    """Otherwise a page of the map without room on the disk would end the process with a signal."""
    file = FeatureFile(tmp_path, range(1_000_000), (2048,), "float32")
    with largest_file(1_000_000), pytest.raises(RunError) as error:
        file.open(0)
    says(error.value, f"{file.path}: ", "File too large", "8192000000 bytes")
    assert os.listdir(tmp_path) == []
    small = FeatureFile(tmp_path, range(1000), (2048,), "float32")
    small.open(0)
    assert small.path.stat().st_blocks * 512 >= 1000 * 2048 * 4  # no holes

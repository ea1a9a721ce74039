"""data/make_lists.py --folds: every clip is tested once, by a network that has not seen its recording."""

from collections import Counter

import pytest

from conftest import says
from data.lists.dealing import SplitClip
from data.lists.folds import deal_folds, lists_of_folds, notes_on_folds
from list_making import lines, make_lists, succeed, touch
from utils.errors import InputError


def recording(label: int, *names: str) -> list[SplitClip]:
    return [SplitClip(f"{label}/{name}", "train", label) for name in names]


def sizes(folds: list[list[SplitClip]]) -> list[dict[int, int]]:
    return [dict(Counter(clip.label for clip in fold)) for fold in folds]


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_even_in_every_class_and_in_all(seed):
    single = [recording(label, f"{i:02}") for label, number in enumerate((7, 13, 2)) for i in range(number)]
    folds = deal_folds(single, 5, seed)
    assert folds == deal_folds(single[::-1], 5, seed) and (seed == 0) == (folds == deal_folds(single, 5, 0))
    assert len(set(sum(folds, []))) == sum(map(len, folds)) == 22
    for label, fewest in ((0, 1), (1, 2), (2, 0)):
        assert {found.get(label, 0) for found in sizes(folds)} == {fewest, fewest + 1}
    assert {len(fold) for fold in folds} == {4, 5}
    assert notes_on_folds(folds, ["a", "b", "c"], 22) == [
        "5 folds of all 22 clips, from 22 recordings: 4 to 5 clips",
        "classes that some folds do not test: 1: c; classes in one fold only, which are tested but not trained: 0",
    ]


def test_a_recording_is_in_one_fold_and_its_classes_are_spread():
    together = [recording(0, f"{i}a", f"{i}b") + recording(1, f"{i}c") for i in range(6)]
    together += [recording(1, "d", "e", "f"), recording(0, "g")]
    folds = deal_folds(together, 3, 0)
    assert all(any(set(clips) <= set(fold) for fold in folds) for clips in together)
    assert sorted(tuple(sorted(found.items())) for found in sizes(folds)) == [
        ((0, 4), (1, 2)), ((0, 4), (1, 5)), ((0, 5), (1, 2)),
    ]  # fmt: skip


def test_a_fold_is_tested_after_training_on_the_others():
    folds = [recording(0, "a"), recording(0, "b"), recording(1, "c")]
    lists = {name: [clip.path for clip in clips] for name, clips in lists_of_folds(folds).items()}
    assert lists == {
        "fold1.train.list": ["0/b", "1/c"], "fold1.test.list": ["0/a"], "fold2.train.list": ["0/a", "1/c"],
        "fold2.test.list": ["0/b"], "fold3.train.list": ["0/a", "0/b"], "fold3.test.list": ["1/c"],
    }  # fmt: skip
    assert "; classes in one fold only, which are tested but not trained: 1" in notes_on_folds(folds, ["x", "y"], 3)[1]


def test_fewer_recordings_than_folds_are_refused():
    with pytest.raises(InputError) as error:
        deal_folds([recording(0, "a", "b"), recording(1, "c")], 3, 0)
    says(error.value, "--folds 3: ", "no more folds than recordings", "2")


def test_lists_beside_the_others(tmp_path):
    touch(tmp_path / "v", *(f"{label}/{day}_{i}.mp4" for label in "ab" for day in range(4) for i in range(3)))
    out = succeed(tmp_path, "--videos", "v", "--group", r"(\d)_", "--folds", "4")
    assert "4 folds of all 24 clips, from 4 recordings: 6 clips each\n" in out
    assert "  fold4.test.list       6 clips\n" in out
    for fold in "1234":
        test, train = lines(tmp_path, f"fold{fold}.test.list"), lines(tmp_path, f"fold{fold}.train.list")
        assert (len(test), len(train), len({*test, *train})) == (6, 18, 24)
        assert {line.partition("_")[0][-1] for line in test}.isdisjoint(line.partition("_")[0][-1] for line in train)
    before = lines(tmp_path, "train.list")
    succeed(tmp_path, "--videos", "v", "--group", r"(\d)_", "--folds", "2", "--force")
    assert sorted(path.name for path in (tmp_path / "lists").glob("fold*")) == [
        "fold1.test.list", "fold1.train.list", "fold2.test.list", "fold2.train.list",
    ]  # fmt: skip
    assert lines(tmp_path, "train.list") == before
    for flags, *pieces in (
        (["--folds", "1"], "error: --folds: ", "from 2 to 20", "not '1'", "python data/make_lists.py --help"),
        (["--folds", "2", "--extend"], "error: --folds 2: ", "without --extend", "anew"),
    ):
        ended = make_lists(tmp_path, "--videos", "v", *flags)
        assert ended.returncode == 2
        says(ended.stderr, *pieces)

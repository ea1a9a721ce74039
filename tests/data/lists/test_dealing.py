"""data/make_lists.py splits clips by shares and seed, with each recording in one split."""

import json
import random
import re
import shutil
from collections import Counter
from itertools import product

import pytest

from conftest import says
from data.lists.classes import Classes, choose_classes
from data.lists.dealing import find_recordings, split_counts, split_recordings
from list_making import lines, make_lists, succeed, touch
from reader.videos import Video
from utils.errors import InputError

LISTS = ("train.list", "val.list", "test.list")
SHARES = (0.8, 0.1, 0.1)
CLASSES = Classes(["a", "b", "c"], "", {"a": 0, "b": 1, "c": 2})


def test_folders_are_split_by_seed_and_each_class_for_itself(tmp_path):
    touch(
        tmp_path / "v",
        *(f"C/{i}.mp4" for i in range(20)),
        *(f"C++/{i}.mp4" for i in range(20)),
        "one/1.mp4",
        "stray.mp4",
    )
    splits = []
    for seed in ("0", "0", "1"):
        succeed(tmp_path, "--videos", "v", "--seed", seed, "--force")
        splits.append({name: lines(tmp_path, name) for name in ("train.list", "val.list", "test.list")})
        together = [line for part in splits[-1].values() for line in part]
        assert len(together) == len(set(together)) == 41
    assert splits[0] == splits[1] != splits[2]
    assert [len(splits[0][name]) for name in splits[0]] == [33, 4, 4]
    assert lines(tmp_path, "remarks.csv") == ["where,remark", "v/stray.mp4,not in a class folder"]
    touch(tmp_path / "v", "C++/more.mp4")
    succeed(tmp_path, "--videos", "v", "--force")
    again = {name: lines(tmp_path, name) for name in splits[0]}
    for name, before in splits[0].items():
        assert [line for line in before if "/C/" in line] == [line for line in again[name] if "/C/" in line]


@pytest.mark.parametrize("group", [[], ["--group", r"(\d)\d?\.mp4"]], ids=["clips", "recordings"])
def test_listed_clips_stay_in_their_lists_when_clips_come(tmp_path, group):
    touch(tmp_path / "v", *(f"{label}/{i}.mp4" for label in "ab" for i in range(20)))
    succeed(tmp_path, "--videos", "v", "--split", "0.5", "0.25", "0.25", *group)
    names = LISTS
    before = {name: set(lines(tmp_path, name)) for name in names}
    touch(tmp_path / "v", *(f"{label}/{i}.mp4" for label in "ab" for i in range(20, 30)))
    (tmp_path / "v" / "a" / "0.mp4").unlink()
    how = ["--videos", "v", "--split", "0.5", "0.25", "0.25", "--seed", "3", *group]
    out = succeed(tmp_path, *how, "--extend")
    after = {name: set(lines(tmp_path, name)) for name in names}
    assert all(before[name] - {"v/a/0.mp4 0"} <= after[name] for name in names)
    assert sum(map(len, after.values())) == len(set().union(*after.values())) == 59
    assert "clips in the old lists: 40; new: 20, gone: 1, now in another split: 0" in out
    if not group:
        assert [len(after[name]) for name in names] == [30, 15, 14]
    out = succeed(tmp_path, "--videos", str(tmp_path / "v"), *how[2:], "--force")  # the same clips with absolute paths
    [moved] = re.findall(r"clips in the old lists: 59; new: 0, gone: 0, now in another split: (\d+); --extend k", out)
    again = {name: {line.removeprefix(f"{tmp_path}/") for line in lines(tmp_path, name)} for name in names}
    assert int(moved) == sum(len(again[name] - after[name]) for name in names) > 0


def test_clips_that_folders_split_in_another_way_are_counted_without_advice(tmp_path):
    touch(tmp_path / "v", "train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "val/b/4.mp4")
    succeed(tmp_path, "--videos", "v")
    train, val = (tmp_path / "lists" / f"{name}.list" for name in ("train", "val"))
    texts = val.read_text(), train.read_text()
    train.write_text(texts[0]), val.write_text(texts[1])
    out = succeed(tmp_path, "--videos", "v", "--force")
    assert "clips in the old lists: 4; new: 0, gone: 0, now in another split: 4\n" in out


def test_a_new_class_gets_the_next_number(tmp_path):
    """Classes whose clips are gone keep their numbers, and a given label list must keep the old numbers."""
    touch(tmp_path / "v", *(f"{label}/{i}.mp4" for label in ("B", "d", "c++") for i in range(4)))
    succeed(tmp_path, "--videos", "v", "--labels", "own")
    names = lambda: json.loads((tmp_path / "lists" / "kinetics_labels.json").read_text())  # noqa: E731
    assert names() == ["B", "c++", "d"]
    before = {name: set(lines(tmp_path, name)) for name in LISTS}
    touch(tmp_path / "v", *(f"{label}/{i}.mp4" for label in ("Zumba", "c", "archery") for i in range(2)))
    shutil.rmtree(tmp_path / "v" / "B")
    out = succeed(tmp_path, "--videos", "v", "--extend")
    assert names() == ["B", "c++", "d", "archery", "c", "Zumba"]
    assert "kinetics_labels.json  6 classes, numbered as before, with new ones after the others\n" in out
    after = set().union(*(lines(tmp_path, name) for name in LISTS))
    assert {line for part in before.values() for line in part if "/B/" not in line} <= after
    assert {line.split()[-1] for line in after if "/c/" in line} == {"4"}
    (tmp_path / "v" / "rowing").mkdir()
    touch(tmp_path / "v", "rowing/1.mp4")
    assert "new classes, numbered after the 6 old ones: 1: rowing\n" in succeed(tmp_path, "--videos", "v", "--extend")
    assert names() == ["B", "c++", "d", "archery", "c", "Zumba", "rowing"]
    (tmp_path / "own.json").write_text('["archery", "b", "d"]')
    with pytest.raises(InputError) as error:
        choose_classes(["b", "d"], str(tmp_path / "own.json"), ["b", "d"])
    says(error.value, "--labels ", "own.json: ", "numbers the classes differently", "--extend")
    assert choose_classes(["b"], str(tmp_path / "own.json"), ["archery", "b"]).names == ["archery", "b", "d"]


def test_only_existing_lists_can_be_extended(tmp_path):
    touch(tmp_path / "v", "yoga/a.mp4", "yoga/b.mp4")
    result = make_lists(tmp_path, "--videos", "v", "--extend")
    assert result.returncode == 2
    says(result.stderr, "error: --extend: ", "lists has no train.list", "leave --extend out")


@pytest.mark.parametrize(
    "number, shares, counts",
    [
        (1, (0.8, 0.1, 0.1), [1, 0, 0]),
        (2, (0.8, 0.1, 0.1), [1, 1, 0]),
        (3, (0.8, 0.1, 0.1), [1, 1, 1]),
        (10, (0.8, 0.1, 0.1), [8, 1, 1]),
        (15, (0.8, 0.1, 0.1), [12, 2, 1]),
        (3, (0.8, 0.2, 0), [2, 1, 0]),
        (5, (1, 0, 0), [5, 0, 0]),
        (1000, (0.7, 0.1, 0.2), [700, 100, 200]),
    ],
)
def test_split_counts(number, shares, counts):
    assert split_counts(number, shares) == counts


def videos(*paths: str) -> list[Video]:
    return [Video(f"v/{path}", tuple(path.split("/")[:-1]), False) for path in paths]


@pytest.mark.parametrize(
    "expression, names, alone",
    [
        ("day_([0-9])", [{"day_1/x.mp4", "day_1_y.mp4"}, {"day_2.mp4"}, {"night.mp4"}], 1),
        ("day_[0-9]", [{"day_1/x.mp4", "day_1_y.mp4"}, {"day_2.mp4"}, {"night.mp4"}], 1),
        ("^(day)_1/|night", [{"day_1/x.mp4"}, {"day_1_y.mp4"}, {"day_2.mp4"}, {"night.mp4"}], 3),
        ("mp4", [{"day_1/x.mp4", "day_1_y.mp4", "day_2.mp4", "night.mp4"}], 0),
    ],
)
def test_the_first_group_or_the_whole_match_names_the_recording(expression, names, alone):
    found, without = find_recordings(
        videos("a/day_1/x.mp4", "b/day_1_y.mp4", "a/day_2.mp4", "a/night.mp4"), re.compile(expression)
    )
    assert [{re.sub("^v/[ab]/", "", video.path) for video in videos} for videos in found] == names
    assert without == alone


def counts(sizes: list[dict[str, int]], shares=SHARES, seed: int = 0) -> tuple[list[tuple[int, ...]], dict[str, str]]:
    """Return (clips per split of a, b and c; split of each recording). sizes: clips by class of each recording."""
    recordings = [
        videos(*(f"{name}/{i:03}_{n}.mp4" for name, number in size.items() for n in range(number)))
        for i, size in enumerate(sizes)
    ]
    clips = split_recordings(recordings, CLASSES, shares, seed)
    splits: dict[str, set[str]] = {}
    for clip in clips:
        splits.setdefault(clip.path.split("/")[2][:3], set()).add(clip.split)
    assert all(len(found) == 1 for found in splits.values()), "a recording in two splits"
    assert sorted(clip.path for clip in clips) == sorted(video.path for group in recordings for video in group)
    number = Counter((clip.label, clip.split) for clip in clips)
    table = [tuple(number[label, split] for split in ("train", "val", "test")) for label in range(3)]
    return table, {recording: found.pop() for recording, found in splits.items()}


@pytest.mark.parametrize(
    "sizes, shares, expected",
    [
        ([{"a": 3}] * 10, SHARES, [(24, 3, 3)]),
        ([{"a": 50}, {"a": 30}, {"a": 10}, {"a": 5}, {"a": 5}], SHARES, [(80, 10, 10)]),
        ([{"a": 8}, {"a": 7}, {"a": 6}, {"a": 5}, {"a": 4}], (0.5, 0.5, 0), [(15, 15, 0)]),
        ([{"a": 4}], SHARES, [(4, 0, 0)]),
        ([{"a": 4}, {"a": 5}], SHARES, [(5, 4, 0)]),
        ([{"a": 4}, {"a": 5}, {"a": 6}], (0.6, 0.4, 0), [(9, 6, 0)]),
        ([{"a": 1, "b": 2}, {"a": 2, "b": 1}, {"a": 7, "b": 7}], SHARES, [(7, 2, 1), (7, 1, 2)]),
        ([{"a": 9, "b": 1}, {"b": 9}], SHARES, [(9, 0, 0), (1, 9, 0)]),  # otherwise class a would have no training
        ([{"a": 5, "b": 5, "c": 5}] * 3, SHARES, [(5, 5, 5)] * 3),
    ],
)
def test_recordings_are_dealt_as_near_to_the_shares_as_they_allow(sizes, shares, expected):
    for seed in range(5):
        table, _ = counts(sizes, shares, seed)
        assert [sorted(row[1:]) for row in table[: len(expected)]] == [sorted(row[1:]) for row in expected]
        assert [row[0] for row in table[: len(expected)]] == [row[0] for row in expected]


def badness(table: list[tuple[int, ...]], wanted: list[list[int]]) -> tuple[int, ...]:
    """Return (classes without a clip in train, val and test; squared distance to the wanted numbers)."""
    empty = [sum(want[i] > 0 and not row[i] for row, want in zip(table, wanted)) for i in range(3)]
    return *empty, sum((row[i] - want[i]) ** 2 for row, want in zip(table, wanted) for i in range(3))


def test_no_better_deal_of_small_sets_exists():
    chance = random.Random(0)
    for _ in range(20):
        sizes = [{name: chance.randint(1, 9) for name in chance.sample("ab", chance.randint(1, 2))} for _ in range(6)]
        rows = [[size.get(name, 0) for size in sizes] for name in "ab"]
        wanted = [split_counts(sum(row), SHARES) for row in rows]
        deals = product(range(3), repeat=len(sizes))
        tables = ([[sum(n for n, s in zip(row, deal) if s == i) for i in range(3)] for row in rows] for deal in deals)
        table, _ = counts(sizes)
        assert badness(table, wanted) == min(badness(other, wanted) for other in tables)


def test_many_recordings_meet_the_shares_at_once():
    chance = random.Random(0)
    table, _ = counts([{chance.choice("abc"): chance.randint(1, 9)} for _ in range(900)])
    for train, val, test in table:
        number = train + val + test
        assert abs(train - 0.8 * number) < 3 and abs(val - 0.1 * number) < 3 and abs(test - 0.1 * number) < 3


def test_the_seed_and_the_files_decide():
    sizes = [{"a": 2, "b": 1}] * 12
    deals = [counts(sizes, seed=seed)[1] for seed in (0, 0, 1)]
    assert deals[0] == deals[1] != deals[2]


def test_recordings_through_the_script(tmp_path):
    """A recording of several classes stays together. A video without a match is its own recording, and is counted."""
    names = [f"rec{r}_{i}.mp4" for r in range(8) for i in range(3)]
    touch(
        tmp_path / "v", *(f"{c}/{name}" for c in ("yes", "no") for name in names), "yes/odd.mp4", "yes/sub/rec1_9.mp4"
    )
    out = succeed(tmp_path, "--videos", "v", "--group", r"rec(\d+)_", "--split", "0.5", "0.25", "0.25")
    assert "\n\nrecordings, each in one split: 9; videos without a match of --group: 1\n\n" in out
    assert "classes without a clip for training" not in out
    splits = [set(re.findall(r"rec\d+", "\n".join(lines(tmp_path, name)))) for name in LISTS]
    assert sum(map(len, splits)) == len(set.union(*splits)) == 8
    assert sum(len(lines(tmp_path, name)) for name in LISTS) == 50
    assert [len(lines(tmp_path, name)) // 6 for name in LISTS] == [4, 2, 2]


def test_a_class_without_training_clips_is_named(tmp_path):
    touch(tmp_path / "v", "train/yes/a.mp4", "val/yes/b.mp4", "val/no/c.mp4", "test/maybe/d.mp4")
    out = succeed(tmp_path, "--videos", "v")
    assert "\n\nclasses without a clip for training: 2: maybe, no\n\n" in out

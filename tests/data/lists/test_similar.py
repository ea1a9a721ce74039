"""Clips that look alike are found, kept in one list, and shown."""

import numpy as np
import pytest

from conftest import make_clip, picture
from data.lists.dealing import joined
from data.lists.similar import groups_of, vectors_of
from list_making import lines, make_lists, succeed
from reader.videos import Video


def test_pictures_that_are_nearly_the_same_are_found_among_many():
    random = np.random.default_rng(1)
    pictures = random.integers(0, 256, (1600, 3, 16, 16)).astype(np.uint8)
    for i in range(0, 200, 4):  # brighter, flatter, noisier: the same recording
        pictures[1000 + i] = np.clip(pictures[i] * 0.7 + 30 + random.normal(0, 8, (3, 16, 16)), 0, 255)
    pictures[1599] = pictures[1596] = 90  # plain grey is similar to nothing, not even to plain grey
    vectors = vectors_of(list(pictures))
    assert {tuple(sorted(g)) for g in groups_of(vectors, 0.95)} == {(i, 1000 + i) for i in range(0, 200, 4)}
    assert groups_of(vectors, 1) == []
    # Pictures that are connected only through a third one are one group.
    chain = np.array([[1, 0], [0.8, 0.6], [0.28, 0.96], [-1, 0]], np.float32)
    assert groups_of(chain, 0.79) == [[0, 1, 2]]
    assert groups_of(chain[[0, 2, 1, 3]], 0.79) == [[0, 1, 2]]


def test_groups_join_recordings():
    a, b, c, d, e = (Video(name, ("k",), False) for name in "abcde")
    found = joined([[a, b], [c], [d], [e]], [["b", "d"], ["c", "e"]])
    assert sorted(sorted(v.path for v in videos) for videos in found) == [["a", "b", "d"], ["c", "e"]]
    found = joined([[a], [c], [a, c] and [d, b]], [["a", "d"], ["c", "b"]])
    assert sorted(sorted(v.path for v in videos) for videos in found) == [["a", "b", "c", "d"]]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Provide two classes of 10 clips: 5 recordings, each twice, in different sizes and brightness."""
    folder = tmp_path_factory.mktemp("clips")
    for label in "ab":
        (folder / "v" / label).mkdir(parents=True)
        for i in range(5):
            frames = np.stack([picture(64, 48, 10 * (label == "a") + i)] * 4)
            make_clip(folder / "v" / label / f"{i}.mp4", frames)
            make_clip(folder / "v" / label / f"{i}x.mp4", (frames[:, ::2, ::2] * 0.8).astype(np.uint8))
    return folder


def test_clips_that_look_alike_stay_in_one_list(clips):
    out = succeed(clips, "--videos", "v", "--split", "0.6", "0.2", "0.2", "--similar=0.95")
    sides = {line.split()[0]: name for name in ("train", "val", "test") for line in lines(clips, f"{name}.list")}
    assert len(sides) == 20 and len(set(sides.values())) == 3
    assert all(sides[f"v/{c}/{i}.mp4"] == sides[f"v/{c}/{i}x.mp4"] for c in "ab" for i in range(5))
    assert "clips that look alike at --similar=0.95: 20 in 10 groups, each in one list: similar.html" in out
    page = (clips / "lists" / "similar.html").read_text()
    assert page.count(">Similarity ") == 10 and page.count("<img ") == 10 * 2 * 3 and "v/b/4x.mp4" in page
    assert "look alike" not in succeed(clips, "--videos", "v", "--force", "--similar=0")
    assert not (clips / "lists" / "similar.html").exists()
    ended = make_lists(clips, "--videos", "v", "--force", "--similar=95")
    assert (ended.returncode, "expected a number from 0 to 1, not '95'" in ended.stderr) == (2, True)

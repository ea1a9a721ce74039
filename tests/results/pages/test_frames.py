"""A page shows the frames that the network saw."""

import numpy as np
import pytest

from reader.build import clip_spec, read_section_list
from reader.dataset import read_clip
from reader.filelist import Entry
from results.pages.frames import MOST_FRAMES, frames_seen
from utils.config.loading import load_config


@pytest.mark.parametrize(
    "settings, views, middle",
    [
        ({}, 1, 0),
        ({"TEST.seg_num": 1}, 1, 0),
        ({"TEST.crops": 3}, 3, 2),  # start, end, middle
        ({"TEST.crops": 10}, 10, 8),  # each place of five is followed by its mirror
        ({"MODEL.seglen": 2}, 1, 0),
    ],
)
def test_frames_are_those_of_the_middle_crop(workspace, settings, views, middle):
    config = load_config(workspace.config.removeprefix("--config="), settings)
    entries = [Entry("none.mp4"), *read_section_list(config, config.test)]
    found = dict(frames_seen(config, config.test, entries, [3, 0, 1]))
    assert list(found) == [3, 1]  # in the order of the request, without the unreadable one
    for position, frames in found.items():
        clip, _ = read_clip(clip_spec(config.test), entries[position].path)
        segments = config.test.seg_num
        assert len(clip) == views * segments
        assert np.array_equal(frames, clip[middle * segments : (middle + 1) * segments, ..., :3])


def test_six_of_many_segments_are_shown(workspace):
    config = load_config(workspace.config.removeprefix("--config="), {"TEST.seg_num": 11})
    [entry, *_] = read_section_list(config, config.test)
    [(_, frames)] = frames_seen(config, config.test, [entry], [0])
    clip, _ = read_clip(clip_spec(config.test), entry.path)
    assert len(frames) == MOST_FRAMES and np.array_equal(frames, clip[[0, 2, 4, 6, 8, 10]])


def test_no_positions_give_no_frames(workspace):
    config = load_config(workspace.config.removeprefix("--config="))
    assert list(frames_seen(config, config.test, [], [])) == []

"""The frames that are read: hand-computed cases of the original's arithmetic, and the peers' formulas in NumPy."""

from itertools import product

import numpy as np
import pytest

from reader.sampling import balanced_order, epoch_order, segment_indices, video_rng

CASES = [
    # frames, segments, seglen, mp4, pkl
    (300, 7, 1, [20, 62, 104, 146, 188, 230, 272], None),
    (300, 3, 1, [49, 149, 249], None),
    (10, 3, 1, [1, 4, 7], None),
    (11, 3, 1, [1, 4, 7], None),
    (12, 3, 1, [1, 5, 9], None),
    (75, 25, 1, list(range(1, 75, 3)), None),
    (74, 25, 1, list(range(0, 50, 2)), None),
    # as many frames as segments, fewer, one
    (3, 3, 1, [0, 1, 2], None),
    (7, 7, 1, [0, 1, 2, 3, 4, 5, 6], None),
    (25, 25, 1, list(range(25)), None),
    (2, 3, 1, [0, 1, 0], None),
    (5, 7, 1, [0, 1, 2, 3, 4, 0, 1], None),
    (24, 25, 1, [*range(24), 0], None),
    (1, 7, 1, [0] * 7, None),
    # several frames per segment: mp4 centres the first of them, pkl all of them
    (30, 3, 3, [4, 5, 6, 14, 15, 16, 24, 25, 26], [3, 4, 5, 13, 14, 15, 23, 24, 25]),
    (30, 3, 5, [4, 5, 6, 7, 8, 14, 15, 16, 17, 18, 24, 25, 26, 27, 28],
     [2, 3, 4, 5, 6, 12, 13, 14, 15, 16, 22, 23, 24, 25, 26]),
    (9, 3, 3, [1, 2, 3, 4, 5, 6, 7, 8, 0], [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    # a segment shorter than seglen, and no frame for each segment
    (7, 3, 5, [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 4, 5, 6, 0, 1], None),
    (2, 3, 3, [0, 1, 0, 1, 0, 1, 0, 1, 0], None),
    (1, 2, 3, [0] * 6, None),
]  # fmt: skip


@pytest.mark.parametrize("num_frames, num_segments, seglen, mp4, pkl", CASES)
def test_central_frames(num_frames, num_segments, seglen, mp4, pkl):
    assert segment_indices(num_frames, num_segments, seglen) == mp4
    assert segment_indices(num_frames, num_segments, seglen, frame_format="pkl") == (pkl or mp4)


@pytest.mark.parametrize(
    "num_frames, num_segments, seglen, offsets",
    [
        (30, 3, 1, range(10)),
        (30, 3, 3, range(8)),  # 0..10-3, both included
        (30, 3, 5, range(6)),
        (17, 3, 5, [0]),  # the segment is as long as the clip
        (4, 3, 1, [0]),
    ],
)
def test_random_frames_start_anywhere_the_segment_allows(num_frames, num_segments, seglen, offsets):
    duration = num_frames // num_segments
    rng = np.random.default_rng(0)
    seen = [set() for _ in range(num_segments)]
    for _ in range(300):
        indices = np.reshape(segment_indices(num_frames, num_segments, seglen, rng=rng), (num_segments, seglen))
        assert (indices == indices[:, :1] + np.arange(seglen)).all()  # seglen frames follow on
        for i, start in enumerate(indices[:, 0].tolist()):
            seen[i].add(start - i * duration)
    assert seen == [set(offsets)] * num_segments


@pytest.mark.parametrize("num_frames, num_segments, seglen", [(7, 3, 5), (2, 3, 1), (1, 7, 3)])
def test_short_videos_are_not_random(num_frames, num_segments, seglen):
    drawn = segment_indices(num_frames, num_segments, seglen, rng=np.random.default_rng(0))
    assert drawn == segment_indices(num_frames, num_segments, seglen)


@pytest.mark.parametrize("frame_format", ["mp4", "pkl"])
@pytest.mark.parametrize("sampling", ["segment", "uniform", "linspace"])
def test_every_index_is_a_frame(frame_format, sampling):
    sizes = product((1, 2, 5, 23, 24, 25, 26, 300), (1, 3, 7, 25), (1, 3, 5), (None, np.random.default_rng(0)))
    for num_frames, num_segments, seglen, rng in sizes:
        how = {"frame_format": frame_format, "sampling": sampling, "rng": rng}
        indices = segment_indices(num_frames, num_segments, seglen, **how)
        assert len(indices) == num_segments * seglen
        assert all(type(i) is int and 0 <= i < num_frames for i in indices)


PEERS = [
    # frames, segments, uniform, linspace
    (300, 8, [18, 56, 93, 131, 168, 206, 243, 281], [0, 42, 85, 128, 170, 213, 256, 299]),
    (300, 3, [50, 150, 250], [0, 149, 299]),
    (10, 3, [1, 5, 8], [0, 4, 9]),
    (10, 1, [5], [0]),
    (8, 8, list(range(8)), list(range(8))),
    (5, 8, [0, 0, 1, 2, 2, 3, 4, 4], [0, 0, 1, 1, 2, 2, 3, 4]),
    (2, 3, [0, 1, 1], [0, 0, 1]),
    (1, 7, [0] * 7, [0] * 7),
]


@pytest.mark.parametrize("num_frames, num_segments, uniform, linspace", PEERS)
@pytest.mark.parametrize("frame_format", ["mp4", "pkl"])
def test_frames_of_the_peers(num_frames, num_segments, uniform, linspace, frame_format):
    assert segment_indices(num_frames, num_segments, frame_format=frame_format, sampling="uniform") == uniform
    assert segment_indices(num_frames, num_segments, frame_format=frame_format, sampling="linspace") == linspace


@pytest.mark.parametrize("num_segments", [1, 2, 3, 7, 8, 25, 33])
def test_frames_of_the_peers_of_any_video(num_segments):
    """Compare in the peers' floating point, where a whole number may come out as one less."""
    i = np.arange(num_segments)
    for num_frames in range(1, 800):
        interval = num_frames / float(num_segments)
        uniform = np.mod(i * interval + interval / 2.0, num_frames).astype(np.int32)
        assert segment_indices(num_frames, num_segments, sampling="uniform") == uniform.tolist()
        if num_frames > num_segments:  # PaddleVideo's select_left
            left = [int(interval / 2.0 + interval * x) for x in range(num_segments)]
            assert segment_indices(num_frames, num_segments, sampling="uniform") == left
        linspace = np.clip(np.linspace(0, num_frames - 1, num_segments), 0, num_frames - 1).astype(np.int64)
        assert segment_indices(num_frames, num_segments, sampling="linspace") == linspace.tolist()


def test_seglen_frames_follow_on_with_every_sampling():
    assert segment_indices(30, 2, 3, sampling="uniform") == [7, 8, 9, 22, 23, 24]
    assert segment_indices(30, 2, 3, sampling="linspace") == [0, 1, 2, 29, 0, 1]


@pytest.mark.parametrize(
    "num_frames, num_segments, seglen, offsets",
    [(30, 3, 1, range(10)), (32, 3, 1, range(10)), (30, 3, 3, range(9)), (3, 3, 1, [0])],
)
def test_uniform_training_draws_from_the_whole_segment(num_frames, num_segments, seglen, offsets):
    interval = (num_frames - seglen + 1) // num_segments
    rng = np.random.default_rng(0)
    seen = [set() for _ in range(num_segments)]
    for _ in range(300):
        indices = segment_indices(num_frames, num_segments, seglen, sampling="uniform", rng=rng)
        for i, start in enumerate(indices[::seglen]):
            seen[i].add(start - i * interval)
    assert seen == [set(offsets)] * num_segments


@pytest.mark.parametrize(
    "num_frames, num_segments, expected",
    [
        (5, 8, [0, 1, 1, 2, 2, 3, 4, 4]),
        (4, 8, [0, 0, 1, 2, 2, 2, 3, 0]),  # halves to the even neighbour; the last is 3.5, past the end
        (2, 3, [0, 1, 1]),
        (1, 7, [0] * 7),
    ],
)
def test_uniform_training_spreads_a_short_video(num_frames, num_segments, expected):
    drawn = segment_indices(num_frames, num_segments, sampling="uniform", rng=np.random.default_rng(0))
    assert drawn == expected
    theirs = np.mod(np.around(np.arange(num_segments) * (num_frames / num_segments)), num_frames)
    assert drawn == theirs.astype(int).tolist()


@pytest.mark.parametrize("num_frames, num_segments, seglen", [(300, 3, 1), (30, 3, 3), (5, 7, 1)])
def test_linspace_training_draws_as_the_original(num_frames, num_segments, seglen):
    drawn = [
        segment_indices(num_frames, num_segments, seglen, sampling=sampling, rng=np.random.default_rng(1))
        for sampling in ("segment", "linspace")
    ]
    assert drawn[0] == drawn[1]


def test_no_frames():
    with pytest.raises(ValueError, match="num_frames must be positive, got 0"):
        segment_indices(0, 3)


def test_randomness_is_a_function_of_seed_epoch_and_index():
    def draws(*key):
        return tuple(video_rng(*key).integers(0, 1000, 5).tolist())

    keys = [(seed, epoch, index) for seed in (0, 1) for epoch in (0, 1) for index in (0, 1, 2)]
    assert len({draws(*key) for key in keys}) == len(keys)
    assert all(draws(*key) == draws(*key) for key in keys)


def test_the_order_of_an_epoch_is_a_permutation_of_its_own():
    orders = [epoch_order(50, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_order(50, 0, 1) == orders[1]


@pytest.mark.parametrize("labels", [
    [0] * 7 + [1] * 2 + [5], [0, 1, 2, 3], [3, 3, 3], [0] * 90 + [1] * 9 + [2], list(range(5)) * 3 + [0],
])  # fmt: skip
def test_a_balanced_epoch_has_each_class_equally_often(labels):
    number, classes = len(labels), sorted(set(labels))
    for epoch in range(3):
        order = balanced_order(labels, 1, epoch)
        assert len(order) == number == len(set(order))
        counts = [sum(labels[draw % number] == label for draw in order) for label in classes]
        assert max(counts) - min(counts) <= 1
        for label in classes:
            of_class = [draw for draw in order if labels[draw % number] == label]
            times = [
                sum(draw % number == video for draw in of_class) for video in range(number) if labels[video] == label
            ]
            assert max(times) - min(times) <= 1  # no video again before all of its class
            assert {draw // number for draw in of_class} == set(range(max(times)))  # each draw has its own number


def test_a_balanced_order_is_a_function_of_seed_and_epoch():
    labels = [0] * 40 + [1] * 10
    orders = [balanced_order(labels, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert balanced_order(labels, 0, 1) == orders[1]
    assert {draw % 50 for epoch in range(20) for draw in balanced_order(labels, 0, epoch)} == set(range(50))

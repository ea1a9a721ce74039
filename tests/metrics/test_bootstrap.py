"""Draws of the videos: their mAP equals that of repeated videos, and their intervals tell networks apart."""

import numpy as np
import pytest

from metrics.bootstrap import _average_precisions, difference, drawn_maps, interval
from metrics.many import average_precision


def sample(videos: int, seed: int, noise: float = 1.0):
    """Return labels [N, 3], and scores: the labels with noise, some of them equal."""
    random = np.random.default_rng(seed)
    labels = (random.random((videos, 3)) < 0.3).astype(np.uint8)
    return labels, np.round(labels + random.normal(0, noise, labels.shape), 1).astype(np.float32)


def test_a_draw_equals_repeated_videos():
    labels, scores = sample(40, 1)
    times = np.random.default_rng(2).multinomial(40, np.full(40, 1 / 40), 5)
    found = _average_precisions(scores[:, 0], labels[:, 0] > 0, times)
    for own, drawn in zip(found, times):
        again = np.repeat(np.arange(40), drawn)
        assert own == pytest.approx(average_precision(scores[again, 0], labels[again, 0]))


def test_draws_are_the_same_for_all_runs_and_each_time():
    labels, scores = sample(30, 3)
    first, second = drawn_maps([scores, scores], labels)
    assert first.shape == (1000,) and np.array_equal(first, second)
    assert np.array_equal(drawn_maps([scores], labels)[0], first)
    same = difference(50.0, 50.0, first, second)
    assert (same.low, same.high, same.may_be_chance) == (0, 0, True)


def test_a_better_network_is_told_from_chance():
    labels, clear = sample(200, 4, noise=0.3)
    dim = labels + np.random.default_rng(5).normal(0, 2.0, labels.shape)
    drawn = drawn_maps([clear, dim], labels)
    maps = [float(np.mean([average_precision(own[:, k], labels[:, k]) for k in range(3)])) for own in (clear, dim)]
    for own, of_run in zip(maps, drawn):
        low, high = interval(of_run)
        assert low < own < high
    found = difference(*maps, *drawn)
    assert found.low > 0 and str(found).endswith("not by chance, at a level of 5%")
    other = difference(*maps[::-1], *drawn[::-1])
    assert (other.low, other.high) == pytest.approx((-found.high, -found.low))


def test_classes_without_a_video_do_not_count():
    labels, scores = sample(20, 6)
    labels[:, 1] = 0
    assert np.array_equal(drawn_maps([scores], labels), drawn_maps([scores[:, [0, 2]]], labels[:, [0, 2]]))
    nothing = drawn_maps([scores], np.zeros_like(labels))
    assert np.isnan(nothing).all() and np.isnan(interval(nothing[0])).all()

"""data/checks/oddities.py against numbers computed by hand."""

import numpy as np
import pytest

from data.checks.findings import FACTORS
from data.checks.oddities import first_of_each, repeated, usual

NAN = float("nan")


@pytest.mark.parametrize("values, factor, median, odd", [
    ([10] * 8 + [5, 20], 2, 10, [5, 20]),
    ([10] * 8 + [5.1, 19.9], 2, 10, []),
    ([10] * 8 + [6, 15.1], 1.5, 10, [6, 15.1]),  # 6 <= 10 / 1.5
    ([10, 10, NAN, 30, 0], 2, 10, [30, 0]),
    ([1, 2, 4, 8, 16, 32, 64], 2, 8, []),  # many kinds: log 8 is 2 deviations away
    # The median absolute deviation is log 1.1, so factors above 1.1 ** (5 * 1.4826) = 2.03 are odd.
    ([10 / 1.1, 10 / 1.1, 10, 11, 11, 20.2], 2, (10 * 11) ** 0.5, []),
    ([10 / 1.1, 10 / 1.1, 10, 11, 11, 20.4, 4.9], 2, 10, [20.4, 4.9]),
    ([7], 2, 7, []),
])  # fmt: skip
def test_values_far_from_the_median_are_odd(values, factor, median, odd):
    values = np.array(values, np.float32)
    found = usual(values, factor)
    assert found.median == pytest.approx(median)
    assert values[found.is_odd(values)].tolist() == np.array(odd, np.float32).tolist()


def test_55_frames_a_second_beside_24_are_not_odd():
    rates = np.array([24] * 8 + [15.3, 29.97, 55, 60, 120, 1000, 1], np.float32)
    odd = usual(rates, FACTORS["rate"]).is_odd(rates)
    assert rates[odd].tolist() == [120, 1000, 1]


def test_unknown_values_are_never_odd():
    found = usual(np.array([NAN, NAN]), 2)
    assert not found.is_odd(np.array([NAN, 1.0])).any()


def test_repeated_values_and_their_first_positions():
    values = np.array([5, 7, 5, 9, 9, 5])
    assert repeated(values).tolist() == [True, False, True, True, True, True]
    assert first_of_each(values).tolist() == [0, 1, 0, 3, 3, 0]

"""McNemar's test, compared with p-values computed by hand."""

import pytest

from metrics.mcnemar import Paired, pair

TABLES = [
    ((5, 0, 0, 5), 1.0),
    ((0, 5, 0, 0), 0.0625),  # 2 / 2^5
    ((3, 1, 6, 2), 0.125),  # 2 * (1 + 7) / 2^7
    ((9, 4, 4, 9), 1.0),
    ((0, 12, 40, 0), 1.275e-4),  # two-sided binomial test of 12 in 52
    ((0, 700, 800, 0), 0.01059),  # (|100| - 1)^2 / 1500 = 6.534
]


@pytest.mark.parametrize("counts, p", TABLES)
def test_mcnemar(counts, p):
    assert Paired(*counts).p_value == pytest.approx(p, rel=2e-3)


def test_pairs_are_counted():
    assert pair([1, 1, 0, 0, 1], [True, False, True, False, True]) == Paired(2, 1, 1, 1)

"""The learning rate of every step, against a count by hand."""

import pytest

from training.schedule import learning_rate_at


@pytest.mark.parametrize(("total", "falls"), [
    (9, (3, 6)),  # a third of the steps each
    (10, (4, 7)),  # 3 * 3 < 10 <= 3 * 4; 3 * 6 < 20 <= 3 * 7
    (11, (4, 8)),
    (1, (1, 1)),
    (45 * 940, (15 * 940, 30 * 940)),  # the original: after epochs 15 and 30 of 45
])  # fmt: skip
def test_the_rate_falls_at_one_and_two_thirds(total, falls):
    for step in {0, 1, *(fall + i for fall in falls for i in (-1, 0)), total - 1}:
        if 0 <= step < total:
            expected = 0.01 * 0.1 ** sum(step >= fall for fall in falls)
            assert learning_rate_at(step, total, 0.01, 0.1) == pytest.approx(expected, rel=1e-12), step

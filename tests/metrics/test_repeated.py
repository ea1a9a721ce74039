"""Mean, deviation and interval of several runs, computed by hand; Student's t by integrating its density."""

import math

import numpy as np
import pytest

from metrics.repeated import _T, MOST, Repeated


def test_three_runs():
    found = Repeated([80.0, 84.0, 91.0])
    assert (found.mean, found.deviation) == (85.0, pytest.approx(math.sqrt((25 + 1 + 36) / 2)))
    half = 4.302653 * math.sqrt(31 / 3)
    assert found.interval == pytest.approx((85 - half, 85 + half)) and Repeated([50.0, 50.0]).interval == (50, 50)
    assert Repeated([0.0, 100.0]).interval == (0, 100)


@pytest.mark.parametrize("freedom", range(1, MOST))
def test_points_of_students_t(freedom):
    x = np.linspace(0, _T[freedom - 1], 200_001)
    density = (1 + x * x / freedom) ** (-(freedom + 1) / 2)
    scale = math.gamma((freedom + 1) / 2) / math.gamma(freedom / 2) / math.sqrt(freedom * math.pi)
    assert scale * np.trapezoid(density, x) == pytest.approx(0.475, abs=1e-7)

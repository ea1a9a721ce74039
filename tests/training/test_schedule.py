"""The learning rate of every step, against values computed by hand."""

import math

import pytest

from training.schedule import Schedule, build_schedule
from utils.config.train_keys import TrainConfig


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
            assert Schedule(1, total, 0.01)(step, 0) == pytest.approx(expected, rel=1e-12), step


def rates(**train) -> list[float]:
    """Return the rates of 4 epochs of 3 steps."""
    schedule = build_schedule(TrainConfig(epoch=4, learning_rate=0.8, **train), steps_per_epoch=3, step_size=6)
    return [schedule(epoch, step) for epoch in range(4) for step in range(3)]


COSINE = [0.4 * (1 + math.cos(math.pi * step / 12)) for step in range(12)]


@pytest.mark.parametrize(("train", "expected"), [
    ({}, [0.8] * 4 + [0.08] * 4 + [0.008] * 4),
    ({"learning_rate_decay": 0.5}, [0.8] * 4 + [0.4] * 4 + [0.2] * 4),
    ({"milestones": (1, 3)}, [0.8] * 3 + [0.08] * 6 + [0.008] * 3),
    ({"milestones": (2,), "learning_rate_decay": 0.25}, [0.8] * 6 + [0.2] * 6),
    ({"milestones": (4, 9)}, [0.8] * 12),  # training ends before
    ({"warmup_epochs": 1.0, "warmup_learning_rate": 0.2}, [0.2, 0.4, 0.6, 0.8] + [0.08] * 4 + [0.008] * 4),
    ({"warmup_epochs": 2.0, "milestones": (2,)}, [0.08 * step / 6 for step in range(6)] + [0.08] * 6),
    ({"warmup_epochs": 0.5, "milestones": (3,)}, [0, 0.8 / 1.5] + [0.8] * 7 + [0.08] * 3),
    ({"schedule": "cosine"}, COSINE),
    ({"schedule": "cosine", "milestones": (1, 3)}, COSINE),  # milestones are for the other schedule
    ({"schedule": "cosine", "warmup_epochs": 2.0, "warmup_learning_rate": 0.1},
     [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, *COSINE[6:]]),  # 0.4 is the cosine's rate after 2 of 4 epochs
    ({"learning_rate_batch": 3, "warmup_epochs": 1.0, "warmup_learning_rate": 0.1},
     [0.2, 0.2 + 1.4 / 3, 0.2 + 2.8 / 3, 1.6] + [0.16] * 4 + [0.016] * 4),
])  # fmt: skip
def test_the_rate_of_every_step(train, expected):
    assert rates(**train) == pytest.approx(expected, rel=1e-12)


def test_pp_tsn():
    """0.005 rises to the cosine's rate in 10 of 100 epochs: 0.01 * (1 + cos(pi / 10)) / 2 = 0.0097552826."""
    schedule = Schedule(939, 100, 0.01, cosine=True, warmup_epochs=10.0, warmup_base=0.005)
    found = [schedule(*place) for place in ((0, 0), (5, 0), (10, 0), (50, 0), (99, 938))]
    assert found[:4] == pytest.approx([0.005, 0.0073776413, 0.0097552826, 0.005], rel=1e-8)
    assert 0 < found[4] < 1e-10

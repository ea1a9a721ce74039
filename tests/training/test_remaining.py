"""The remaining time of a run, on a simulated clock."""

import time
from types import SimpleNamespace

import pytest

from training import remaining
from training.remaining import LONG, RECENT, SOME, Pace, RunClock, at, duration, features_left

NOON = time.mktime((2026, 12, 1, 12, 0, 0, 0, 0, -1))


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """Provide a clock that starts at noon; a test adds seconds to `clock.now`."""
    clock = SimpleNamespace(now=0.0)
    local = lambda seconds=None: time.localtime(NOON + clock.now if seconds is None else seconds)  # noqa: E731
    fake = {"perf_counter": lambda: clock.now, "time": lambda: NOON + clock.now, "localtime": local}
    monkeypatch.setattr(remaining, "time", SimpleNamespace(**fake, strftime=time.strftime))
    return clock


@pytest.mark.parametrize(("seconds", "words"), [
    (0.4, "0 min 00 s"), (63, "1 min 03 s"), (3599.6, "1:00 h"), (3600, "1:00 h"), (9 * 3600 + 59 * 60 + 59, "9:59 h"),
    (100 * 3600, "100:00 h"),
])  # fmt: skip
def test_duration(seconds, words):
    assert duration(seconds) == words


def test_another_day_is_named(clock):
    assert (at(5 * 3600 + 40 * 60), at(12 * 3600)) == ("17:40", "2026-12-02 00:00")


def test_a_pace_covers_the_last_pieces_without_the_first(clock):
    pace = Pace()
    assert pace.seconds(9) == 0.0
    for number, seconds in enumerate([500, *[2] * SOME]):
        clock.now += seconds
        assert pace.did(4) == (number == SOME)
    assert pace.seconds(10) == pytest.approx(5.0)
    clock.now += 1000  # such as a validation
    pace.begin()
    for _ in range(RECENT):
        clock.now += 8
        assert not pace.did(2)
    assert pace.seconds(10) == pytest.approx(40.0)


def test_a_long_run_says_when_it_ends_after_some_steps_and_after_its_first_validation(clock, capsys):
    """21 epochs of 30 steps of 6 s, and a validation of 2 minutes after every second epoch."""
    run = RunClock(30, 21, 2, patience=3)
    said = []
    for epoch in range(2):
        run.steps.begin()
        for step in range(30):
            clock.now += 6
            said.append(run.after_step(epoch, step + 1))
    clock.now += 120
    run.validated(1, 120.0)
    assert said[0] == "" and said[1] == "1:02 h left of the run" and said[59] == "57 min 00 s left of the run"
    assert run.seconds(2, 0) == 19 * 180 + 9 * 120
    unless = ", unless TRAIN.patience ends it"
    assert capsys.readouterr().out == (
        f"the run takes 1:01 h more, by 10 steps, without its validations: it ends about 13:03{unless}\n"
        f"the run takes 1:15 h more, with its validations: it ends about 13:23{unless}\n"
    )
    run.validated(3, 130.0)
    assert capsys.readouterr().out == "" and run.seconds(20, 30) == 0 and run.seconds(19, 30) == 180 + 130


def test_a_short_run_says_nothing(clock, capsys):
    run = RunClock(5, 4, 1)
    for epoch in range(4):
        for step in range(5):
            clock.now += 20
            run.after_step(epoch, step + 1)
        run.validated(epoch, 1.0)
    pace = Pace()
    for left in range(SOME, -1, -1):
        clock.now += 1
        bar = features_left(pace, 8, 8 * left)
    assert bar == "" and capsys.readouterr().out == ""


def test_features_say_when_training_begins(clock, capsys):
    pace = Pace()
    for number in range(SOME + 1):
        clock.now += 4
        bar = features_left(pace, 16, 16 * (1000 - number) + 5000)
    assert bar == "1:26 h left of all features"
    assert capsys.readouterr().out == "the features take 1:26 h more, by 10 batches: training begins about 13:27\n"
    assert LONG == 600

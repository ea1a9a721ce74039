"""The steps of an epoch, and the message about a loss that is not finite, on whichever rank it occurs."""

import itertools

import paddle
import pytest

from conftest import says
from training.loop import LossGuard, Steps, step_seed
from utils.errors import RunError
from utils.processes.ranks import World


@pytest.mark.parametrize(("steps", "cut"), [
    (Steps(10, 4, 1), [[4], [4], [2]]),
    (Steps(8, 4, 1), [[4], [4]]),
    (Steps(3, 4, 1), [[3]]),
    (Steps(11, 3, 2), [[3, 3], [3, 2]]),
    (Steps(13, 3, 2), [[3, 3], [3, 3], [1]]),
    (Steps(9, 3, 2), [[3, 3], [3]]),
])  # fmt: skip
def test_an_epoch_in_steps(steps, cut):
    assert [steps.batches_of(step) for step in range(steps.per_epoch)] == cut


class Pair(World):
    """Rank 1 of two, with the other rank's values in `others`."""

    def all_gather(self, value):
        return [self.others.pop(0), value]


def guard_beside(*others) -> LossGuard:
    world = Pair(1, 2)
    object.__setattr__(world, "others", list(others))
    return LossGuard(world)


def test_the_first_loss_that_is_not_finite_is_named():
    guard = LossGuard(World())
    for step, loss in enumerate((1.0, float("inf"), float("nan"))):
        guard.add(7, step, paddle.to_tensor(loss), [f"{step}.mp4", "a b.mp4"])
    with pytest.raises(RunError) as error:
        guard.check()
    says(error.value, "the loss is inf ", "epoch 7, iter 1; ", "checkpoint", "videos of the step: 1.mp4, a b.mp4")


@pytest.mark.parametrize(("other", "ours", "loss", "step", "videos"), [
    (None, [1.0, float("nan")], "nan", 1, "ours 1"),
    ((0, float("inf"), ["theirs"]), [1.0, float("nan")], "inf", 0, "theirs"),
    ((1, float("inf"), ["theirs"]), [1.0, 1.0], "inf", 1, "theirs"),
    ((1, float("nan"), ["theirs"]), [1.0, float("nan")], "nan", 1, "theirs, ours 1"),
])  # fmt: skip
def test_all_processes_stop_with_the_same_message(other, ours, loss, step, videos):
    guard = guard_beside([other is not None], other)
    for number, value in enumerate(ours):
        guard.add(0, number, paddle.to_tensor(value), [f"ours {number}"])
    with pytest.raises(RunError) as error:
        guard.check()
    says(error.value, f"the loss is {loss} ", f"epoch 0, iter {step}; ", "videos of the step: ")
    assert str(error.value).endswith(f": {videos}")


def test_losses_are_read_after_a_hundred_steps_at_most():
    guard = LossGuard(World())
    guard.add(0, 0, paddle.to_tensor(float("nan")), [])
    for step in range(1, LossGuard.LIMIT - 1):
        guard.add(0, step, paddle.to_tensor(1.0), [])
    with pytest.raises(RunError, match="epoch 0, iter 0"):
        guard.add(0, LossGuard.LIMIT - 1, paddle.to_tensor(1.0), [])


@pytest.mark.parametrize("place", ["weight", "_mean"])
def test_weights_and_statistics_are_checked_too(place):
    model = paddle.nn.BatchNorm2D(2)
    guard = LossGuard(World())
    guard.add(3, 4, paddle.to_tensor(1.0), ["x.mp4"])
    guard.check_weights(model)
    getattr(model, place).set_value(paddle.to_tensor([1.0, float("inf")]))
    with pytest.raises(RunError) as error:
        guard.check_weights(model)
    says(error.value, "weights are not finite ", "epoch 3, iter 4; ", "checkpoint", "videos of the step: x.mp4")


def test_each_step_has_its_own_seed_for_dropout():
    seeds = {step_seed(*place) for place in itertools.product((0, 1000), (0, 1), (0, 1), (0, 1))}
    assert len(seeds) == 16 and step_seed(1000, 1, 0, 1) in seeds
    for seed in seeds:
        paddle.seed(seed)

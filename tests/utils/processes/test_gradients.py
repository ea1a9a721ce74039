"""Test the sums of gradients over ranks: their pieces, their order, and the backward that they belong to."""

from types import SimpleNamespace

import paddle
import pytest

from utils.processes.gradients import GradientSum
from utils.processes.ranks import World


class Network(paddle.nn.Layer):
    """Five weights of four numbers, each a layer; the first one is not trained."""

    def __init__(self):
        super().__init__()
        self.weights = paddle.nn.ParameterList([self.create_parameter([2, 2]) for _ in range(5)])
        self.weights[0].stop_gradient = True

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        for weight in self.weights:
            x = paddle.matmul(x, weight)
        return x.sum()

    def gradients(self) -> list[list[float] | None]:
        return [None if w.grad is None else w.grad.flatten().tolist() for w in self.weights]


@pytest.fixture
def sums(monkeypatch) -> list[object]:
    """Provide the log of all sums: the size of each at its start, and "there" at its end.

    It stands for two ranks with equal gradients.
    """
    log = []

    def all_reduce(tensor: paddle.Tensor, sync_op: bool) -> SimpleNamespace:
        assert not sync_op
        log.append(tensor.size)
        paddle.assign(tensor * 2, tensor)
        return SimpleNamespace(wait=lambda: log.append("there"))

    monkeypatch.setattr(paddle.distributed, "all_reduce", all_reduce)
    return log


def step(network: Network, total: GradientSum, sums: list[object], batches: int = 2) -> None:
    """Take a step of this number of batches; 0: the rank has no video."""
    for weight in network.weights:
        weight.clear_gradient(set_to_zero=False)
    sums.clear()
    for number in range(batches):
        if number == batches - 1:
            total.begin()
        network(paddle.ones([1, 2])).backward()
        sums.append("backward")
    total.finish()


@pytest.mark.parametrize("device, piece, early, late", [
    ("gpu", 32, [8, 8], []),  # two of the weights are 32 bytes
    ("gpu", 40, [12], [4]),  # the last piece is not full, but complete
    ("gpu", None, [16], []),
    ("cpu", None, [], [16]),  # gloo's sums would delay backward
])  # fmt: skip
def test_sums_begin_while_the_last_backward_computes_the_rest(sums, device, piece, early, late):
    network = Network()
    total = GradientSum(network.parameters(), World(0, 2, device=device), piece)
    for _ in range(2):
        network(paddle.ones([1, 2])).backward()
    alone = network.gradients()
    for _ in range(2):
        step(network, total, sums)
        if device == "gpu":
            early, late = early + late, []  # a piece is sent with its first weight, the last one that backward reaches
        there = ["there"] * len(early + late)
        assert sums == ["backward", *early, "backward", *late, *there]
        assert network.gradients() == [None, *([2 * value for value in values] for values in alone[1:])]
    step(network, total, sums, batches=0)
    assert sums == [*early, *late, *there]
    assert network.gradients() == [None, *[[0.0] * 4] * 4]


def test_pieces_of_two_precisions_are_sent_in_one_order(sums):
    """All ranks must send the pieces in the same order, even if a later piece is complete first."""
    network = Network()
    low = paddle.nn.Linear(2, 2).astype("bfloat16")
    total = GradientSum([*low.parameters(), *network.parameters()], World(0, 2, device="gpu"), 32)
    step(network, total, sums)
    assert sums == ["backward", 8, 8, "backward", 6, *["there"] * 3]
    assert not low.weight.grad.astype("float32").numpy().any()


def test_one_rank_sums_nothing(sums):
    network = Network()
    total = GradientSum(network.parameters(), World())
    step(network, total, sums)
    assert sums == ["backward"] * 2

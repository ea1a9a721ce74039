"""The pool of workers on a fake of Ray: machines come and go, workers die, tasks fail."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from apps.cluster import pool as module
from apps.cluster.pool import ATTEMPTS, Pool, Slot, slots_of
from apps.cluster.worker import Failure
from conftest import says
from fake_ray import Cluster, RayError, Remote, node
from utils.errors import InputError, RunError


@dataclass
class Played(Cluster):
    """A cluster with workers that compute `compute(host, task)`."""

    compute: Callable[[str, int], object] = lambda host, task: task * 10
    opened: Callable[[str], object] = lambda host: "facts"
    made: Counter = field(default_factory=Counter)  # workers by host
    done: Counter = field(default_factory=Counter)  # tasks by host

    def make(self, slot: Slot) -> SimpleNamespace:
        self.made[slot.host] += 1

        def compute(task: int) -> object:
            self.done[slot.host] += 1
            return self.compute(slot.host, task)

        return SimpleNamespace(open=Remote(lambda: self.opened(slot.host)), compute=Remote(compute))

    def pool(self, **how) -> Pool:
        return Pool(self, self.make, lambda nodes: slots_of(nodes, wants_gpu=False, needs_gpu=False), **how)


def answers(pool: Pool, tasks: range) -> dict[int, object]:
    return dict(pool.answers(tasks, lambda task: (task,)))


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Look at the machines in every round, and wait for nothing."""
    monkeypatch.setattr(module, "LOOK", 0)
    monkeypatch.setattr(module, "PATIENCE", 0)
    monkeypatch.setattr(module, "_TICK", 0)


@pytest.mark.parametrize(
    "nodes, wants, needs, slots",
    [
        ([node("a")], False, False, ["a, 2 cores"]),
        ([node("a", cores=1), node("b", cores=0), node("c", alive=False)], False, False, ["a, 1 core"]),
        ([node("a", 8, 2)], True, False, ["a, a GPU and 4 cores"] * 2),
        ([node("a", 8, 2), node("b", 4)], True, False, ["a, a GPU and 4 cores"] * 2 + ["b, 4 cores"]),
        ([node("a", 8, 2), node("b", 4)], True, True, ["a, a GPU and 4 cores"] * 2),
        ([node("a", 1, 2)], True, True, ["a, a GPU and 1 core"] * 2),
        ([node("a", 8, 2)], False, False, ["a, 8 cores"]),
        ([node("a", 8)], True, True, []),
        ([node("a", 8)], True, False, ["a, 8 cores"]),
    ],
)
def test_slots(nodes, wants, needs, slots):
    assert list(map(str, slots_of(nodes, wants, needs))) == slots


def test_every_task_is_done_once_on_all_machines(capsys):
    cluster = Played(["a", "b"])
    pool = cluster.pool()
    assert pool.facts() == "facts"
    assert answers(pool, range(7)) == {task: task * 10 for task in range(7)}
    assert cluster.done.total() == 7 and cluster.done.keys() == {"a", "b"} and cluster.made == {"a": 1, "b": 1}
    assert capsys.readouterr().out == "worker on a, 2 cores: ready\nworker on b, 2 cores: ready\n"


def test_a_task_that_fails_is_tried_again_and_then_named():
    cluster = Played(["a"], lambda host, task: Failure("torn") if task == 2 else task)
    pool = cluster.pool()
    assert answers(pool, range(4)) == {0: 0, 1: 1, 3: 3}
    assert pool.failed == {2: "torn"} and cluster.done["a"] == 3 + ATTEMPTS


def test_a_worker_that_dies_is_replaced_and_its_task_done():
    died = []

    def compute(host: str, task: int) -> int:
        if task == 1 and not died:
            died.append(host)
            raise RayError("\n  the worker died\nof something")
        return task

    cluster = Played(["a"], compute)
    pool = cluster.pool()
    assert answers(pool, range(3)) == {0: 0, 1: 1, 2: 2}
    assert pool.failed == {} and cluster.made["a"] == 2


def test_a_task_that_kills_three_workers_has_failed():
    def compute(host: str, task: int) -> int:
        if task == 1:
            raise RayError("killed")
        return task

    cluster = Played(["a"], compute)
    pool = cluster.pool()
    assert answers(pool, range(3)) == {0: 0, 2: 2}
    assert pool.failed == {1: "its worker on a, 2 cores ended: killed"} and cluster.made["a"] == 1 + ATTEMPTS


def test_machines_that_go_are_no_fault_of_the_task():
    """More machines leave during a task than it has attempts."""
    cluster = Played([f"m{number}" for number in range(2 * ATTEMPTS)])

    def compute(host: str, task: int) -> int:
        if len(cluster.hosts) > 1:
            cluster.hosts.remove(host)
            raise RayError("the node is gone")
        return task

    cluster.compute = compute
    pool = cluster.pool()
    assert answers(pool, range(1)) == {0: 0} and pool.failed == {}


def test_a_machine_that_comes_is_used(capsys):
    cluster = Played(["a"])

    def compute(host: str, task: int) -> int:
        cluster.hosts = ["a", "b"]
        return task

    cluster.compute = compute
    assert answers(cluster.pool(), range(9)) == {task: task for task in range(9)}
    assert cluster.done["b"] > 0 and capsys.readouterr().out.endswith("worker on b, 2 cores: ready\n")


def test_a_worker_that_would_compute_something_else_is_not_used(capsys):
    cluster = Played(["a", "b"], opened=lambda host: host)
    pool = cluster.pool(differ=lambda first, other: "" if first == other else f"it has {other}")
    assert answers(pool, range(5)) == {task: task * 10 for task in range(5)}
    assert cluster.done.keys() == {"a"} and cluster.killed == 1
    assert "worker on b, 2 cores: cannot be used: it has b\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "hosts, opened, error, pieces",
    [
        ([], "facts", RunError, ["no machine of the cluster ", "a CPU core or GPU", "see ray status"]),
        (["a"], Failure("no such weights", users=True), InputError, ["no such weights"]),
        (["a"], Failure("out of memory"), RunError, ["out of memory"]),
    ],
)
def test_without_a_worker_nothing_is_waited_for(hosts, opened, error, pieces):
    cluster = Played(hosts, opened=lambda host: opened)
    with pytest.raises(error) as caught:
        cluster.pool().facts()
    says(caught.value, *pieces)


def test_a_worker_that_dies_while_it_is_opened_is_tried_again(capsys):
    attempts = []

    def opened(host: str) -> str:
        attempts.append(host)
        if len(attempts) < ATTEMPTS:
            raise RayError("killed")
        return "facts"

    assert Played(["a"], opened=opened).pool().facts() == "facts"
    assert len(attempts) == ATTEMPTS and capsys.readouterr().out == "worker on a, 2 cores: ready\n"

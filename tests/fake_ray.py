"""A fake of Ray: its workers are objects of this process, and its machines come and go as a test says.

As a script it is predict.py, or what TSN_TEST_SCRIPT names, on two of its machines: python fake_ray.py FLAGS. If
TEST_FAULTS is set, a worker dies, a machine leaves, and another one joins.
"""

import os
import pickle
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).parents[1]))

from apps.cluster.pool import Slot


class RayError(Exception):
    """Ray raises this if a worker has died."""


@dataclass(eq=False)
class Reference:
    """A call of a worker. It is computed when its result is asked for."""

    work: Callable[[], object]


class Remote:
    """A method of a worker."""

    def __init__(self, work: Callable[..., object]):
        self._work = work

    def remote(self, *arguments: object) -> Reference:
        return Reference(lambda: self._work(*arguments))


@dataclass
class Cluster:
    """The module ray. `hosts` are its machines."""

    hosts: list[str]
    killed: int = field(default=0, init=False)  # workers
    exceptions = SimpleNamespace(RayError=RayError)

    def nodes(self) -> list[dict]:
        return [node(host) for host in self.hosts]

    def wait(self, references, num_returns=1, timeout=None):
        return references, []

    def get(self, reference: Reference) -> object:
        return reference.work()

    def kill(self, actor: object) -> None:
        self.killed += 1


def node(host: str, cores: float = 2, gpus: float = 0, alive: bool = True) -> dict:
    return {"NodeID": host, "NodeManagerHostname": host, "Alive": alive, "Resources": {"CPU": cores, "GPU": gpus}}


@dataclass
class WorkingCluster(Cluster):
    """A cluster for a script: its workers are of the class that the script asks for."""

    computed: int = field(default=0, init=False)  # shards that were begun
    workers: list[object] = field(default_factory=list, init=False)

    def start_actor(self, ray: Cluster, slot: Slot, worker: type, *arguments: object) -> SimpleNamespace:
        """Stand for the function of apps.cluster.pool."""
        assert ray is self
        actor = sent(worker)(*sent(arguments))
        self.workers.append(actor)
        compute = lambda *arguments: self.compute(slot.host, actor, sent(arguments))  # noqa: E731
        return SimpleNamespace(open=Remote(lambda: sent(actor.open())), compute=Remote(compute))

    def compute(self, host: str, actor: object, arguments: tuple) -> object:
        self.computed += 1
        if os.environ.get("TEST_FAULTS"):
            if self.computed == 2:
                raise RayError("the worker was killed")
            if self.computed == 4:
                self.hosts.remove(host)
                raise RayError("its machine was killed")
            if self.computed == 6:
                self.hosts.append("c")
        return sent(actor.compute(*arguments))


def sent(value: object) -> object:
    """Return a copy of an object as it arrives on another machine."""
    return pickle.loads(pickle.dumps(value))


def main() -> None:
    import cluster_faults  # noqa: F401  (its hook)
    from apps.cluster import connection, pool
    from utils.cli import run
    from utils.storage import lock

    lock.PATIENCE = 0.1
    cluster = WorkingCluster(["a", "b"])
    connection.connected = lambda where: nullcontext(cluster)
    pool.start_actor, pool.LOOK = cluster.start_actor, 0
    try:
        run(import_module(os.environ.get("TSN_TEST_SCRIPT", "predict")).main)
    finally:
        for worker in cluster.workers:  # Ray would kill their processes, and with them their readers
            if loader := getattr(worker, "_loader", None):
                loader.__exit__()


if __name__ == "__main__":
    main()

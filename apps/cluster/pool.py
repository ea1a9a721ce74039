"""Run tasks on workers, one per machine or GPU, while machines join and leave the cluster."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from apps.cluster.worker import Failure
from utils.errors import InputError, RunError
from utils.log import say
from utils.processes.signals import signals_held

ATTEMPTS = 3
# Seconds between two looks at the cluster's machines, and seconds without any machine before a run gives up.
LOOK = 2.0
PATIENCE = 60.0
_TICK = 0.3  # a signal waits at most this long


@dataclass(frozen=True)
class Slot:
    """A place for a worker: a machine, or one of its GPUs."""

    node: str  # Ray's id
    number: int
    host: str
    cores: int
    on_gpu: bool

    def __str__(self) -> str:
        return f"{self.host}, {'a GPU and ' if self.on_gpu else ''}{self.cores} core{'s' * (self.cores > 1)}"


@dataclass
class _Place:
    """The state of a slot: its worker, the current task, and how often opening a worker failed."""

    actor: Any = None
    answer: Any = None  # Ray's reference to the awaited result; None: idle
    task: Any = None  # None while an answer is awaited: the worker is being opened
    failures: int = 0


def slots_of(nodes: Sequence[dict], wants_gpu: bool, needs_gpu: bool) -> list[Slot]:
    """Return the slots of the machines that ray.nodes() lists."""
    slots = []
    for node in nodes:
        cores, gpus = (int(node["Resources"].get(name, 0)) for name in ("CPU", "GPU"))
        gpus = gpus if wants_gpu else 0
        if node["Alive"] and cores and (gpus or not needs_gpu):
            number = gpus or 1
            for i in range(number):
                host = node["NodeManagerHostname"]
                slots.append(Slot(node["NodeID"], i, host, max(1, cores // number), gpus > 0))
    return slots


def start_actor(ray, slot: Slot, worker: type, *arguments: Any) -> Any:
    """Return an actor in a slot that owns all of the slot's cores and its GPU."""
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(slot.node, soft=False)
    how = {"num_cpus": slot.cores, "num_gpus": int(slot.on_gpu), "scheduling_strategy": strategy}
    # The pool itself replaces a worker that dies, because it knows the worker's task.
    return ray.remote(worker).options(**how, max_restarts=0).remote(*arguments)


class Pool:
    """One worker per slot. New machines get workers, and workers that die are replaced."""

    def __init__(
        self,
        ray,
        make: Callable[[Slot], Any],
        slots: Callable[[Sequence[dict]], list[Slot]],
        differ: Callable[[Any, Any], str] = lambda first, other: "",
    ):
        """Keep the functions that make workers. No worker is made yet.

        Args:
            make: starts a slot's worker, an actor with the methods `open` and `compute`.
            slots: returns the slots of the nodes that ray lists.
            differ: returns why the second of two workers cannot be used, given their results of `open`; or "".
        """
        self._ray, self._make, self._slots, self._differ = ray, make, slots, differ
        self._places: dict[Slot, _Place] = {}
        self._looked = 0.0
        self._last_failure = Failure("no machine of the cluster has a CPU core or GPU for a worker: see ray status")
        self._facts: Any = None  # what `open` of the first worker returned
        self._hopeless_since: float | None = None
        self.failed: dict[Any, str] = {}  # tasks that failed -> the reason of the last failure

    def facts(self) -> Any:
        """Return the result of `open` of the first worker that is ready.

        Raises InputError and RunError if there is none.
        """
        while self._facts is None:
            self._step()
        return self._facts

    def answers(self, tasks: Sequence[Any], arguments: Callable[[Any], tuple]) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result of `compute`) for each finished task. A failing task gets ATTEMPTS attempts in all.

        arguments: returns a task's arguments for the worker's `compute`. Raises RunError when no worker is left.
        """
        queue, attempts = deque(tasks), dict.fromkeys(tasks, 0)
        left = len(queue)
        while left:
            for place in self._places.values():
                if queue and place.actor is not None and place.answer is None:
                    place.task = queue.popleft()
                    with signals_held():
                        place.answer = place.actor.compute.remote(*arguments(place.task))
            for task, result, counts in self._step():
                if not isinstance(result, Failure):
                    left -= 1
                    yield task, result
                    continue
                attempts[task] += counts
                if attempts[task] < ATTEMPTS:
                    queue.append(task)
                else:
                    left -= 1
                    self.failed[task] = result.reason

    def _step(self) -> list[tuple[Any, Any, bool]]:
        """Wait a moment. Return (task, its result or Failure, whether it counts as an attempt) for those that ended."""
        self._look()
        awaited = {place.answer: slot for slot, place in self._places.items() if place.answer is not None}
        if not awaited:
            time.sleep(_TICK)
            return []
        with signals_held():
            ready, _ = self._ray.wait(list(awaited), num_returns=len(awaited), timeout=0)
            ready = ready or self._ray.wait(list(awaited), timeout=_TICK)[0]
        ended = []
        for slot in (awaited[answer] for answer in ready):
            task, result = self._take(slot)
            if task is None:
                self._opened(slot, self._places[slot], result)
                continue
            if self._places[slot].actor is None:
                self._look(now=True)
            ended.append((task, result, slot in self._places))  # if the machine is gone, the task is not to blame
        return ended

    def _look(self, now: bool = False) -> None:
        """Start workers on new machines, and forget workers on machines that are gone."""
        if not now and time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        with signals_held():
            there = self._slots(self._ray.nodes())
        for slot in there:
            place = self._places.setdefault(slot, _Place())
            if place.actor is None and place.failures < ATTEMPTS:
                with signals_held():
                    place.actor = self._make(slot)
                    place.task, place.answer = None, place.actor.open.remote()
        for slot in set(self._places) - set(there):
            if self._places[slot].answer is None:
                del self._places[slot]
        self._check_hope()

    def _check_hope(self) -> None:
        """Raise if no worker can be had."""
        if any(place.actor is not None for place in self._places.values()):
            self._hopeless_since = None
            return
        self._hopeless_since = self._hopeless_since or time.monotonic()
        if self._places or time.monotonic() - self._hopeless_since > PATIENCE:
            raise (InputError if self._last_failure.users else RunError)(self._last_failure.reason)

    def _take(self, slot: Slot) -> tuple[Any, Any]:
        """Return (task, its result or Failure) of the slot's worker, which is then idle. Task None: it was opened."""
        place = self._places[slot]
        task, answer = place.task, place.answer
        place.task = place.answer = None
        try:
            with signals_held():
                return task, self._ray.get(answer)
        except self._ray.exceptions.RayError as error:
            place.actor = None
            return task, Failure(f"its worker on {slot} ended: {_first_line(error)}")

    def _opened(self, slot: Slot, place: _Place, result: Any) -> None:
        facts = self._facts or result
        if not isinstance(result, Failure) and (why := self._differ(facts, result)):
            result = Failure(why)
        if not isinstance(result, Failure):
            self._facts, place.failures = facts, 0
            say(f"worker on {slot}: ready")
            return
        place.failures += 1
        if place.actor is not None:  # it lives and gave a reason: another attempt would end the same way
            with signals_held():
                self._ray.kill(place.actor)
            place.actor, place.failures = None, ATTEMPTS
        if place.failures >= ATTEMPTS:
            say(f"worker on {slot}: cannot be used: {result.reason}")
        self._last_failure = result


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__

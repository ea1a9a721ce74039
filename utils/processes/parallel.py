"""Many tasks for a few threads, or for a few child processes with a thread here for each."""

import queue
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from typing import TypeVar

from utils.processes.child import Child

AnyChild = TypeVar("AnyChild", bound=Child)
Task = TypeVar("Task")
Result = TypeVar("Result")


def ask_all(
    children: Sequence[AnyChild], ask: Callable[[AnyChild, Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """Yield what `ask` returns of each task, as it comes; close it, and the children are gone.

    Raises what `ask` raises.
    """
    idle: queue.SimpleQueue[AnyChild] = queue.SimpleQueue()
    for child in children:
        idle.put(child)

    def ask_one(task: Task) -> Result:
        child = idle.get()  # there are as many as threads: this never waits
        try:
            return ask(child, task)
        finally:
            idle.put(child)

    number = max(1, len(children))
    pool = ThreadPoolExecutor(number)
    try:
        yield from in_parallel(pool, number, ask_one, tasks)
    finally:  # after Ctrl-C and SIGTERM, too: no process is left behind
        for child in children:
            child.close()  # the thread that waits for its answer wakes up
        pool.shutdown(cancel_futures=True)
        for child in children:
            child.kill()


def in_parallel(
    pool: ThreadPoolExecutor, number: int, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """Yield the results as they come, of a pool of `number` threads; few more tasks are taken than are at work."""
    pending: set[Future[Result]] = set()
    for task in tasks:
        pending.add(pool.submit(function, task))
        if len(pending) >= 2 * number:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    yield from (future.result() for future in as_completed(pending))

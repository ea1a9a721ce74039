"""Many tasks for a few threads, or for a few child processes with one thread each."""

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
    """Yield the result of `ask` for each task as soon as it is there; closing the iterator ends the children.

    Raises what `ask` raises.
    """
    idle: queue.SimpleQueue[AnyChild] = queue.SimpleQueue()
    for child in children:
        idle.put(child)

    def ask_one(task: Task) -> Result:
        child = idle.get()  # never waits: there are as many children as threads
        try:
            return ask(child, task)
        finally:
            idle.put(child)

    number = max(1, len(children))
    pool = ThreadPoolExecutor(number)
    try:
        yield from in_parallel(pool, number, ask_one, tasks)
    finally:  # even after Ctrl-C and SIGTERM no process is left behind
        end_all(children, pool)


def end_all(children: Sequence[Child], threads: ThreadPoolExecutor | None = None) -> None:
    """End the children for good, with their temporary files, and the threads that ask them."""
    for child in children:
        child.close()  # the thread that waits for its answer wakes up
    if threads is not None:
        threads.shutdown(cancel_futures=True)
    for child in children:
        child.kill()


def in_parallel(
    pool: ThreadPoolExecutor, number: int, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[Result]:
    """Yield results as they come from a pool of `number` threads; take at most 2 * `number` tasks at a time."""
    pending: set[Future[Result]] = set()
    for task in tasks:
        pending.add(pool.submit(function, task))
        if len(pending) >= 2 * number:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    yield from (future.result() for future in as_completed(pending))

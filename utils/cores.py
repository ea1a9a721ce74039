"""How many processor cores this process may use."""

import os


def available_cores() -> int:
    """The cores in the affinity mask (taskset, cpusets); all of the machine where the system has no such mask."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

"""How many processor cores and how much memory this process may use: the machine's, or what its container leaves."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

# In the environment of a process, and of those that it starts: the cores that whoever shares the machine has given it.
GRANT = "TSN_CORES"
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Count the cores in the affinity mask (taskset, cpusets), or the whole ones that a container's share makes.

    The share is one of time. All of the machine where the system knows neither; fewer where GRANT says so.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [cores]
    if GRANT in os.environ:
        shares.append(int(os.environ[GRANT]))
    for folder in _control_groups("cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")  # "max 100000": no limit
        if not quota:  # version 1; -1: no limit
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal():
            shares.append(math.ceil(int(quota) / int(period)))
    return max(1, min(shares))


def available_memory() -> int | None:
    """Return the bytes that can still be taken without swapping; None where the system does not say."""
    left = []
    for line in _read(_PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            left.append(int(line.split()[1]) * 1024)
    for folder in _control_groups("memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            values = _read(folder / limit), _read(folder / used)
            if all(value.isdecimal() for value in values):  # "max": no limit
                # Files that were read and not used for a while count as used, but go when the memory is wanted.
                statistics = dict(line.split(" ", 1) for line in _read(folder / "memory.stat").splitlines())
                files = int(statistics.get("total_inactive_file") or statistics.get("inactive_file") or 0)
                left.append(max(0, int(values[0]) - int(values[1]) + files))
    return min(left, default=None)


def _control_groups(controller: str) -> Iterator[Path]:
    """Yield the folders with this process's limits by a controller, those of the groups around its own included.

    Within a container the group's own path may not be there; its limits are then in the root. See cgroups(7).
    """
    for line in _read(_PROC / "self" / "cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0" or controller in controllers.split(","):
            root = _CGROUP if number == "0" else _CGROUP / controllers
            group = root / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root) and folder.is_dir())


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""  # another system, or another version of control groups

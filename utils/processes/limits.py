"""The processor cores and the memory that this process may use: the machine's, or its container's share."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

# Environment variable of a process and its children: the cores granted to it, where several share a machine.
GRANT = "TSN_CORES"
_PROC, _CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Count the cores in the affinity mask (taskset, cpusets), or a container's share of time rounded up to cores.

    Count the machine's cores if the system knows neither; fewer if GRANT says so.
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
    """Return the bytes that can still be allocated without swapping; None if the system does not say."""
    left = []
    for line in _read(_PROC / "meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            left.append(int(line.split()[1]) * 1024)
    for folder in _control_groups("memory"):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            values = _read(folder / limit), _read(folder / used)
            if all(value.isdecimal() for value in values):  # "max": no limit
                # Cached files that were not used for a while count as used, but are dropped if memory is needed.
                statistics = dict(line.split(" ", 1) for line in _read(folder / "memory.stat").splitlines())
                files = int(statistics.get("total_inactive_file") or statistics.get("inactive_file") or 0)
                left.append(max(0, int(values[0]) - int(values[1]) + files))
    return min(left, default=None)


def _control_groups(controller: str) -> Iterator[Path]:
    """Yield the folders with this process's limits by a controller, including those of the enclosing groups.

    Within a container the group's own path may be missing; its limits are then in the root. See cgroups(7).
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
        return ""  # not Linux, or another version of control groups

"""Test the cores and the memory that a machine and a container's limits leave."""

import os
from pathlib import Path

import pytest

from utils.processes import limits

GIB = 1 << 30


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Provide a function that writes files of /proc and of the control groups, on a machine of 8 cores."""
    monkeypatch.setattr(limits, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(limits, "_CGROUP", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)

    def write(files: dict[str, str]) -> None:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


V2 = {"proc/self/cgroup": "0::/user/job\n"}
V1 = {"proc/self/cgroup": "3:cpu,cpuacct:/docker/1f\n2:memory:/docker/1f\n1:name=systemd:/x\n0::/\n"}


@pytest.mark.parametrize(
    "files, cores",
    [
        ({}, 8),
        (V2, 8),
        (V2 | {"cgroup/user/job/cpu.max": "max 100000\n"}, 8),
        (V2 | {"cgroup/user/job/cpu.max": "200000 100000\n"}, 2),
        (V2 | {"cgroup/user/job/cpu.max": "150000 100000\n"}, 2),
        (V2 | {"cgroup/user/job/cpu.max": "10000 100000\n"}, 1),
        (V2 | {"cgroup/user/job/cpu.max": "1600000 100000\n"}, 8),
        (V2 | {"cgroup/user/job/cpu.max": "max 100000\n", "cgroup/user/cpu.max": "300000 100000\n"}, 3),
        (V1 | {"cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n", "cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 8),
        (V1 | {"cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000", "cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000"}, 4),
    ],
)
def test_cores(system, files, cores):
    system(files)
    assert limits.available_cores() == cores


MACHINE = {"proc/meminfo": "MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\n"}


@pytest.mark.parametrize(
    "files, left",
    [
        ({}, None),
        (MACHINE, 8 * GIB),
        (MACHINE | V2 | {"cgroup/user/job/memory.max": "max\n", "cgroup/user/job/memory.current": "5\n"}, 8 * GIB),
        (MACHINE | V2 | {"cgroup/user/job/memory.max": f"{3 * GIB}", "cgroup/user/job/memory.current": f"{GIB}"},
         2 * GIB),
        (MACHINE | V2 | {"cgroup/user/job/memory.max": "5", "cgroup/user/job/memory.current": "6"}, 0),
        (
            V2 | {"cgroup/user/job/memory.max": "9", "cgroup/user/job/memory.current": "8"}
            | {"cgroup/user/job/memory.stat": "anon 3\ninactive_file 2\nactive_file 1\n"}, 3,
        ),
        (V2 | {"cgroup/user/memory.max": "7", "cgroup/user/memory.current": "6"}, 1),
        # In version 1, no limit is a number larger than any machine's memory.
        (MACHINE | V1 | {"cgroup/memory/memory.limit_in_bytes": f"{1 << 63}"}
         | {"cgroup/memory/memory.usage_in_bytes": "1"}, 8 * GIB),
        (MACHINE | V1 | {"cgroup/memory/memory.limit_in_bytes": f"{GIB}"}
         | {"cgroup/memory/memory.usage_in_bytes": "1"}, GIB - 1),
    ],
)  # fmt: skip
def test_memory(system, files, left):
    system(files)
    assert limits.available_memory() == left


def test_on_this_machine():
    assert 1 <= limits.available_cores() <= (os.cpu_count() or 1)
    if Path("/proc/meminfo").exists():
        assert 1 << 20 < limits.available_memory() < 1 << 50

"""What the kernel says of a process: CPU time and memory."""

from __future__ import annotations

import time
from pathlib import Path

CPUCLOCK_SCHED = 2


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process and all its threads have used, to the nanosecond (stat has ticks of 10 ms).

    Every process has a clock of its own; its id is made as by clock_getcpuclockid(3), which Python does not have.
    """
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def system_share(pid: int) -> tuple[float, float]:
    """Return the CPU seconds of a process so far, in its own code and in the kernel for it, in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / 100, int(fields[12]) / 100


def resident_mb(pid: int) -> float:
    """Return the memory that a process occupies now, in MB."""
    return _status_mb(pid, "VmRSS")


def reset_peak(pid: int) -> None:
    """Forget how much memory a process has occupied at most."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_mb(pid: int) -> float:
    """Return how much memory a process has occupied at most since `reset_peak`, in MB."""
    return _status_mb(pid, "VmHWM")


def children(pid: int) -> list[int]:
    """Return the processes that the main thread of a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _status_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(pid)

"""What the kernel says of a process, for checks that watch it grow."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from tests.support_processes import open_files

MEGABYTE = 1e6
TICKS = os.sysconf("SC_CLK_TCK")


@frozen
class Sample:
    """A process at one moment."""

    at: float
    """Seconds on the clock of `time.monotonic`."""
    memory_mb: float
    files: int
    threads: int
    zombies: int
    """Dead children that it has not collected."""
    cpu: float
    """Seconds of CPU time so far."""


def sample(pid: int) -> Sample:
    """Look at a process."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    stat = _stat(pid)
    return Sample(
        time.monotonic(),
        int(status["VmRSS"].split()[0]) * 1024 / MEGABYTE,
        open_files(pid),
        int(status["Threads"]),
        sum(_stat(int(child))[0] == "Z" for child in children),
        (int(stat[11]) + int(stat[12])) / TICKS,
    )


def memory_mb(pid: int) -> float:
    """Return the memory that a process occupies."""
    return sample(pid).memory_mb


def cpu_share(pid: int, seconds: float) -> float:
    """Watch a process for so long; return how much of one core it used."""
    before = sample(pid)
    time.sleep(seconds)
    after = sample(pid)
    return (after.cpu - before.cpu) / (after.at - before.at)


def slope(samples: Sequence[Sample]) -> float:
    """Return how fast the memory grew, in MB per 10 minutes: the median over all pairs, so that peaks count little."""
    pairs = itertools.combinations(samples, 2)
    return 600 * statistics.median((late.memory_mb - early.memory_mb) / (late.at - early.at) for early, late in pairs)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; those of somebody dead and gone are one dash."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["-"]

"""As process 1 of a container, the proxy inherits all orphaned processes, and must collect their exits.

Twisted collects only the exits of processes that it has spawned.
"""

from __future__ import annotations

import os

from twisted.internet import process
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

PERIOD = 1.0
"""Seconds between two collections.  A zombie costs only an entry in the process table, so there is no hurry."""


def collect_as_process_one(clock: IReactorTime) -> None:
    """If this is process 1, collect the exits of orphans from now on."""
    if os.getpid() != 1:
        return
    collecting = LoopingCall(collect)
    collecting.clock = clock
    collecting.start(PERIOD, now=False)


def collect() -> list[int]:
    """Collect the exits of dead children that Twisted does not collect; return their pids.

    It stops at a child of Twisted's, which Twisted collects in this turn of the reactor: the rest can wait.
    """
    collected = []
    while (pid := _dead_child()) is not None and pid not in process.reapProcessHandlers:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # a thread that had started it was quicker
            continue
        collected.append(pid)
    return collected


def _dead_child() -> int | None:
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None  # there are no children
    return None if dead is None else dead.si_pid

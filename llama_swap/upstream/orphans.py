"""As process 1 of a container the proxy inherits everybody whose parent has died, and must collect their exits.

Twisted collects the exits of what it has spawned, and of nobody else.
"""

from __future__ import annotations

import os

from twisted.internet import process
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

PERIOD = 1.0
"""Seconds.  A dead process costs an entry in the table of processes, and nothing else: there is no hurry."""


def collect_as_process_one(clock: IReactorTime) -> None:
    """If this is process 1, collect the exits of orphans from now on."""
    if os.getpid() != 1:
        return
    collecting = LoopingCall(collect)
    collecting.clock = clock
    collecting.start(PERIOD, now=False)


def collect() -> list[int]:
    """Collect the exits of those dead children that nobody else will; return their pids.

    It ends at one of Twisted's own: that one is collected in this turn of the reactor, so the rest can wait.
    """
    collected = []
    while (pid := _dead_child()) is not None and pid not in process.reapProcessHandlers:
        os.waitpid(pid, os.WNOHANG)
        collected.append(pid)
    return collected


def _dead_child() -> int | None:
    try:
        dead = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None  # there are no children at all
    return None if dead is None else dead.si_pid

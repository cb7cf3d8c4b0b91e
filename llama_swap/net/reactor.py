"""Twisted's epoll reactor, with less overhead for each event, a monotonic clock, and an end that waits for no thread.

For every readable socket, Twisted enters a logging context, which tells log observers whose event it is; ours do not
ask.  In every turn it goes through its timers twice, mostly to find that none is due.  When streams bring one event a
turn, that is paid for each event.

Twisted's timers use the time of day.  When that is set, by hand or by NTP, all running timeouts fire at once, or not
for a long time.

Where sending fails because the other end is gone, Twisted drops what that had said before.  But a server may answer
early, and close before it has read all of a request.

At its end, Twisted waits for the threads in which it resolves names and we read files; these may hang for ever.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from select import EPOLLIN
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import CONNECTION_LOST, installReactor
from twisted.internet.tcp import Connection
from twisted.logger import Logger

from llama_swap.net.worker import pool_of

LONGEST_WAIT = 3600.0
"""Seconds; longer waits are left to Twisted, which knows the longest one that epoll takes."""
MOST_THREADS = 10
"""As in Twisted."""


class DirectReactor(EPollReactor):
    """Calls the socket of each event directly, and goes on waiting at once while nothing else is due."""

    _log = Logger()
    seconds = staticmethod(time.monotonic)
    """Monotonic, since an arbitrary moment; what is shown or stored uses `time.time`."""

    def __init__(self) -> None:
        super().__init__()
        self._last: list[Callable[[], object]] = []

    def at_end_of_turn(self, step: Callable[[], object]) -> None:
        """Call `step` at the end of this turn, before the reactor waits for events again."""
        self._last.append(step)

    def _initThreadPool(self) -> None:  # noqa: N802  # Twisted's name
        self.threadpool = pool_of(MOST_THREADS, "reactor")
        self.callWhenRunning(self.threadpool.start)

    def mainLoop(self) -> None:  # noqa: N802  # Twisted's name
        """Do what is due, wait for events, and so on until the end; see `ReactorBase.mainLoop`."""
        while self._started:
            try:
                wait: float | None = self._undisturbed_for()
                if not wait:
                    self.runUntilCurrent()
                    if self._last:
                        self._end_turn()
                    wait = self.timeout() if self.running and not self._last else 0
                self.doPoll(wait)
            except BaseException:  # noqa: BLE001 -- as in Twisted: the reactor goes on
                self._log.failure("an unexpected error in the main loop")
        self._log.debug("the main loop has ended")

    def doPoll(self, timeout: float | None) -> None:  # noqa: N802  # Twisted's name
        """Wait for events, at most `timeout` seconds, and dispatch them; see `EPollReactor.doPoll`."""
        for fd, event in self._poller.poll(timeout, len(self._selectables)):
            selectable = self._selectables.get(fd)  # None: an earlier event of this turn has closed it
            if selectable is None:
                continue
            if event == EPOLLIN:  # which nearly all are
                try:
                    end = selectable.doRead()
                except BaseException as error:  # noqa: BLE001 -- it ends only this connection
                    self._log.failure("a connection has failed")
                    end = error
                if end:
                    self._guarded(self._disconnectSelectable, selectable, end, True)
            else:
                self._guarded(self._doReadOrWrite, selectable, fd, event)
        if self._last:
            self._end_turn()

    doIteration = doPoll  # noqa: N815  # the name by which the main loop knows it

    def _disconnectSelectable(self, selectable: Any, why: Any, isRead: bool, *_: Any) -> None:  # noqa: N802, N803  # Twisted's names
        """Tell a connection that it has ended; if that was not noticed in reading, first read what has come."""
        try:
            if why is CONNECTION_LOST and not isRead and isinstance(selectable, Connection) and selectable.connected:
                selectable.doRead()
        finally:
            super()._disconnectSelectable(selectable, why, isRead)

    def _end_turn(self) -> None:
        last, self._last = self._last, []
        for step in last:
            try:
                step()
            except Exception:  # noqa: BLE001 -- as above
                self._log.failure("what was left for the end of a turn has failed")

    def _undisturbed_for(self) -> float:
        """Return for how many seconds the reactor need only wait for events; 0: see what is due."""
        calls = self._pendingTimedCalls
        if not calls or self._last or self.threadCallQueue or self._newTimedCalls:
            return 0
        if self._justStopped or not self.running:
            return 0
        wait = calls[0].time - self.seconds()
        return wait if 0 < wait < LONGEST_WAIT else 0

    def _guarded(self, step: Callable[..., object], *arguments: Any) -> None:
        """Do `step` for one connection; if it fails, the others go on."""
        try:
            step(*arguments)
        except Exception:  # noqa: BLE001 -- as above
            self._log.failure("a connection has failed to end")


def install() -> None:
    """Make this the reactor, unless there is one already."""
    if "twisted.internet.reactor" not in sys.modules:
        installReactor(DirectReactor())

"""Notices that files have changed, by polling, which also works where they are mounted, linked or replaced.

Their disk may not answer, as that of a server that is down: then there is nothing to notice, and nothing else waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.sources import Stamp
from llama_swap.net.worker import NoThread

PERIOD: Final = 2.0
"""Seconds between polls."""
SETTLING: Final = 0.2
"""Seconds for which files must stay unchanged after a change: they may still be written to."""


class Watch(Service):
    """Calls `changed` once for each change.  That a file disappears is no change, but its return is one."""

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        look: Callable[[], Deferred[Mapping[str, Stamp]]],
        seen: Mapping[str, Stamp],
        changed: Callable[[], None],
    ) -> None:
        """`look` returns the stamps of the files without blocking the reactor; `seen` are those of before."""
        self._clock = clock
        self._look = look
        self._seen = seen
        self._changed = changed
        self._unsettled = False
        self._problem = ""
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin to poll."""
        super().startService()
        self._wait()

    def stopService(self) -> None:
        """Poll no more."""
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def have_seen(self, stamps: Mapping[str, Stamp]) -> None:
        """Files with these stamps were read: only what differs from them counts as a change."""
        self._seen = stamps
        self._unsettled = False

    def _wait(self, _: None = None) -> None:
        if self.running:
            self._next = self._clock.callLater(SETTLING if self._unsettled else PERIOD, self._look_again)

    def _look_again(self) -> None:
        self._next = None
        looking = self._look().addCallback(self._compare, self._seen)
        looking.addErrback(self._cannot_look).addCallback(self._wait)

    def _compare(self, now: Mapping[str, Stamp], before: Mapping[str, Stamp]) -> None:
        self._problem = ""
        if self._seen is not before or not self.running:
            return  # the files were read meanwhile, or it is too late
        self._seen = now
        if any(stamp != before.get(path) for path, stamp in now.items()):
            self._unsettled = True
        elif self._unsettled:
            self._unsettled = False
            self._changed()

    def _cannot_look(self, failure: Failure) -> None:
        problem = failure.getErrorMessage()
        if problem == self._problem:  # what lasts is told once
            return
        self._problem = problem
        if failure.check(NoThread):
            self._log.warn("cannot look whether the configuration has changed: {problem}", problem=problem)
        else:
            self._log.failure("cannot look whether the configuration has changed", failure)

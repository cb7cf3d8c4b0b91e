"""The deadlines of all clients on a single timer: deadlines move with every request, the timer hardly ever does."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import ClassVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

LEAST = 0.1
"""The fewest seconds between two looks at all deadlines: they may be many."""


class Patience:
    """Watches deadlines."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.deadlines: set[Deadline] = set()
        self.next_look = inf
        self._timer: IDelayedCall | None = None

    def look_at(self, time: float) -> None:
        """Look at `time`, if not before."""
        self.stop()
        self.next_look = time
        self._timer = self.clock.callLater(max(0.0, time - self.clock.seconds()), self._look)

    def stop(self) -> None:
        """Look no more, until `look_at` is called again."""
        self.next_look = inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """Call those that are due, and set the timer for the next; the one it was set for may have moved."""
        now = max(self.clock.seconds(), self.next_look)  # floats: it may be a little less
        self._timer, self.next_look = None, inf
        for deadline in [each for each in self.deadlines if each.time <= now]:
            try:
                deadline.pass_by()
            except Exception:  # noqa: BLE001 -- the other deadlines must be met nevertheless
                self._log.failure("a defect of llama-swap, in giving up a client")
        earliest = max(now + LEAST, min((each.time for each in self.deadlines), default=inf))
        if earliest < self.next_look:
            self.look_at(earliest)


class Deadline:
    """Calls `over` when the time that was last allowed has passed."""

    __slots__ = ("_over", "_patience", "time")

    def __init__(self, patience: Patience, over: Callable[[], None]) -> None:
        self._patience = patience
        self._over = over
        self.time = inf
        patience.deadlines.add(self)

    def allow(self, seconds: float | None) -> None:
        """Allow so many seconds from now, whatever was allowed before; None: without limit."""
        if seconds is None:
            self.time = inf
            return
        patience = self._patience
        self.time = time = patience.clock.seconds() + seconds
        if time < patience.next_look:
            patience.look_at(time)

    def pass_by(self) -> None:
        """The time has passed."""
        self.time = inf
        self._over()

    def stop(self) -> None:
        """Never call `over`, and drop the reference to it."""
        self._over = _nobody
        deadlines = self._patience.deadlines
        deadlines.discard(self)
        if not deadlines:
            self._patience.stop()


def _nobody() -> None:
    """Nobody waits to be told."""

"""A deadline that moves with every request, on a timer that does not."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Patience:
    """Calls `over` when what is waited for has taken longer than was allowed last."""

    def __init__(self, clock: IReactorTime, over: Callable[[], None]) -> None:
        self._clock = clock
        self._over = over
        self._deadline: float | None = None
        self._timer: IDelayedCall | None = None

    def allow(self, seconds: float | None) -> None:
        """Wait so many seconds from now, None: for ever, whatever was allowed before."""
        if seconds is None:
            self._deadline = None
            return
        self._deadline = self._clock.seconds() + seconds
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._look)
        elif self._timer.getTime() > self._deadline:
            self._timer.reset(seconds)

    def stop(self) -> None:
        """Wait for nothing any more, and let go of whom to tell."""
        self._over = _nobody
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        """The timer fired, for a deadline that may have moved since."""
        self._timer = None
        if self._deadline is None:
            return
        left = self._deadline - self._clock.seconds()
        if left > 0:
            self._timer = self._clock.callLater(left, self._look)
        else:
            self._over()


def _nobody() -> None:
    """Nobody waits to be told."""

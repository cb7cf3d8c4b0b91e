"""Unloads a model that nobody has used for its `ttl`."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime


@define(eq=False)
class IdleTimer:
    """Runs while a ready model is not in use: since it became ready, or since its last answer ended."""

    _clock: IReactorTime
    _ttl: float
    """Seconds; 0: never."""
    _expired: Callable[[], None]
    _call: IDelayedCall | None = None
    _unused: bool = False
    _last_use: float = 0.0

    def start(self) -> None:
        """The model is not in use, from now on."""
        self.used()
        self.resume()

    def used(self) -> None:
        """The model has been in use until now."""
        self._last_use = self._clock.seconds()

    def resume(self) -> None:
        """The model is not in use, and what there was since `used` does not count: go on with the time left then."""
        self.stop()
        self._unused = True
        if self._ttl > 0:
            left = self._last_use + self._ttl - self._clock.seconds()
            self._call = self._clock.callLater(max(0.0, left), self._expire)

    def set_ttl(self, ttl: float) -> None:
        """Set another `ttl`; if the timer runs, it starts anew."""
        if ttl != self._ttl:
            self._ttl = ttl
            if self._unused:
                self.start()

    def stop(self) -> None:
        """The model is in use, or gone."""
        self._unused = False
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _expire(self) -> None:
        self._call = None
        self._expired()

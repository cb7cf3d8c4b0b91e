"""Notices that files have changed, by polling, which also works where they are mounted, linked or replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from llama_swap.config.sources import Stamp

PERIOD: Final = 2.0
"""Seconds between polls."""
SETTLING: Final = 0.2
"""Seconds for which files must stay unchanged after a change: they may still be written to."""


class Watch(Service):
    """Calls `changed` once for each change.  That a file disappears is no change, but its return is one."""

    def __init__(
        self,
        clock: IReactorTime,
        look: Callable[[], Mapping[str, Stamp]],
        seen: Mapping[str, Stamp],
        changed: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._look = look
        self._seen = seen
        self._changed = changed
        self._unsettled = False
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin to poll."""
        super().startService()
        self._next = self._clock.callLater(PERIOD, self._look_again)

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

    def _look_again(self) -> None:
        now, before = self._look(), self._seen
        self._seen = now
        if any(stamp != before.get(path) for path, stamp in now.items()):
            self._unsettled = True
        elif self._unsettled:
            self._unsettled = False
            self._changed()
        self._next = self._clock.callLater(SETTLING if self._unsettled else PERIOD, self._look_again)

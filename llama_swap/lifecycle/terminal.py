"""The terminal that the program may have been started from: what SIGHUP means depends on it.

The kernel sends it when the terminal closes, and shells when they exit, some of them before that.  At any other time it
is a request to reload, also for a program that outlives its terminal (`llama-swap & disown`).  So it means to stop only
if the terminal closes at about the same time.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

LOOK_EVERY = 3.0
"""Seconds between two looks at an open terminal."""
CLOSES_WITHIN = 2.0
"""The most seconds from the SIGHUP of an exiting shell until the terminal closes."""
SAID_WITHIN = 5.0
"""The most seconds from the look that finds it closed until the SIGHUP comes."""


class Terminal(Service):
    """Watches whether the program's terminal closes, while the service runs.

    If SIGHUP is ignored at the start, as with `nohup`, the program is to outlive its terminal, which is then not used.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, clock: Any, *, is_used: bool) -> None:
        """`clock` is an IReactorTime; `is_used`: there is a terminal, and the program ends with it."""
        self._clock = clock
        self._is_used = is_used
        self._next_step: IDelayedCall | None = None

    @classmethod
    def at_start(cls, clock: Any) -> Terminal:
        """Return the terminal of this process."""
        is_outlived = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        return cls(clock, is_used=not is_outlived and any(map(os.isatty, (0, 1, 2))) and _is_there())

    def startService(self) -> None:
        """Begin to watch."""
        super().startService()
        if self._is_used:
            self._look()

    def stopService(self) -> None:
        """Watch no more."""
        super().stopService()
        self._cancel()

    def hang_up(self, reload: Callable[[], None], stop: Callable[[], None]) -> None:
        """On SIGHUP: `stop` if the terminal has just closed, else `reload`, and `stop` if it closes within seconds."""
        if self._has_closed():
            stop()
            return
        reload()
        if self._is_used:
            self._later(CLOSES_WITHIN, self._look_again, stop)

    def _look(self) -> None:
        if self._has_closed():
            self._later(SAID_WITHIN, self._outlive)
        else:
            self._later(LOOK_EVERY, self._look)

    def _look_again(self, stop: Callable[[], None]) -> None:
        if self._has_closed():
            stop()
        else:
            self._look()

    def _outlive(self) -> None:
        self._is_used = False
        self._log.info("the terminal has closed, which does not end this; from now on, SIGHUP reloads")

    def _has_closed(self) -> bool:
        return self._is_used and not _is_there()

    def _later(self, seconds: float, step: Callable[..., None], *args: object) -> None:
        self._cancel()
        self._next_step = self._clock.callLater(seconds, step, *args)

    def _cancel(self) -> None:
        if self._next_step is not None and self._next_step.active():
            self._next_step.cancel()


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError as error:  # if no file descriptor is left, that says nothing about the terminal
        return error.errno not in (errno.ENXIO, errno.EIO)
    return True

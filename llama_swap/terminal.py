"""The terminal that the program may have been started from: what SIGHUP means depends on it."""

from __future__ import annotations

import os
import signal

from attrs import frozen


@frozen
class Terminal:
    """How the program stands to a terminal."""

    is_used: bool
    """It has one, and at least one of stdin, stdout and stderr is it."""
    is_outlived: bool
    """SIGHUP is not for it, as `nohup` wants."""

    @classmethod
    def at_start(cls) -> Terminal:
        """Return how this process stands to one."""
        is_used = any(map(os.isatty, (0, 1, 2))) and _is_there()
        return cls(is_used, is_outlived=signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)

    def has_closed(self) -> bool:
        """Whether it was closed since."""
        return self.is_used and not _is_there()


def _is_there() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True

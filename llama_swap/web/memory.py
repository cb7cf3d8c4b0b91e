"""Gives memory back to the system.

What slow readers have not taken lies in many pieces of some ten kilobytes.  The C library keeps the room of those that
are freed for the next ones, however long that takes.
"""

from __future__ import annotations

import contextlib


def give_back() -> None:
    """Return what is free to the system, in a few milliseconds; where the C library cannot do that, nothing happens."""
    import ctypes

    with contextlib.suppress(AttributeError, OSError):  # glibc has it; others do not, or need it less
        ctypes.CDLL(None).malloc_trim(0)

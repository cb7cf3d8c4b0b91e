"""How much of a body is read at a time: much, since each part costs a turn of the reactor, but others need theirs."""

from __future__ import annotations

AT_ONCE = 64 * 1024
"""Bytes that Twisted reads at a time, and so of a body that came with its head."""
OF_BODY_AT_ONCE = 256 * 1024
"""Bytes that are read at a time of bodies in several parts, of all of them together."""
LEAST = 16 * 1024
"""The fewest of each."""
LONG = 0.005
"""Seconds after which others must have their turn.  A body that takes longer to check is read by `AT_ONCE`."""


class Uploads:
    """The bodies that come in several parts, by who reads them.

    In one turn, the reactor reads a part of each; a hundred large parts would take a tenth of a second.
    """

    def __init__(self) -> None:
        self._reading: set[object] = set()

    def share(self, reader: object, size: int, seconds: float) -> int:
        """Return how many bytes to read next, of a body whose last part, of `size` bytes, took `seconds` to check."""
        self._reading.add(reader)
        takes_long = seconds * OF_BODY_AT_ONCE >= LONG * size
        return max(LEAST, (AT_ONCE if takes_long else OF_BODY_AT_ONCE) // len(self._reading))

    def over(self, reader: object) -> None:
        """The body is complete, or nobody reads it any more."""
        self._reading.discard(reader)

"""The last lines of a source, kept as history for new listeners."""

from __future__ import annotations

from collections import deque
from itertools import takewhile

from attrs import evolve, frozen

RING_BYTES = 100 * 1024
"""The bytes of history that each source keeps."""


@frozen
class Chunk:
    """Whole lines that arrived together; rings and listeners share it."""

    source: str
    """The model's id, "proxy", or "" for a notice about the log itself."""
    number: int
    """The number of the chunk among those of all sources, in the order of publication."""
    lines: bytes
    """Never empty; ends with a newline."""


class Ring:
    """The newest chunks of one source, at least `limit` bytes of them and at most one chunk more."""

    def __init__(self, limit: int = RING_BYTES) -> None:
        self._limit = limit
        self._chunks: deque[Chunk] = deque()
        self._size = 0
        self._lost = 0

    def append(self, chunk: Chunk) -> None:
        """Add `chunk`, and drop the oldest ones that are no longer needed."""
        self._chunks.append(chunk)
        self._size += len(chunk.lines)
        while self._size - len(self._chunks[0].lines) >= self._limit:
            oldest = self._chunks.popleft()
            self._size -= len(oldest.lines)
            self._lost = oldest.number

    def tail(self, limit: int) -> list[Chunk]:
        """Return the newest whole lines, oldest first: at most `limit` bytes, and at most the limit of the ring."""
        room = min(limit, self._limit)
        newest: list[Chunk] = []
        for chunk in reversed(self._chunks):
            if len(chunk.lines) > room:
                if lines := _last_lines(chunk.lines, room):
                    newest.append(evolve(chunk, lines=lines))
                break
            newest.append(chunk)
            room -= len(chunk.lines)
        return newest[::-1]

    def after(self, number: int) -> list[Chunk]:
        """Return the chunks after the one with this number that are still here."""
        return list(takewhile(lambda chunk: chunk.number > number, reversed(self._chunks)))[::-1]

    def has_lost_after(self, number: int) -> bool:
        """Whether a chunk after the one with this number is no longer here."""
        return self._lost > number


def _last_lines(lines: bytes, room: int) -> bytes:
    return lines[lines.find(b"\n", len(lines) - room - 1) + 1 :]

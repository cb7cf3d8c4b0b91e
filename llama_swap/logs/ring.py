"""The last lines of a source, kept as history for new listeners."""

from __future__ import annotations

from collections import deque
from itertools import takewhile

from attrs import evolve, frozen

RING_BYTES = 100 * 1024
"""History that each source keeps."""


@frozen
class Chunk:
    """Whole lines that arrived together; one object, shared by every ring and listener that holds it."""

    source: str
    """The model's id, "proxy", or "" for a notice about the log itself."""
    number: int
    """Grows with every chunk that a broadcaster spreads, whatever its source."""
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
        """Keep `chunk`, and let go of the oldest that are no longer needed."""
        self._chunks.append(chunk)
        self._size += len(chunk.lines)
        while self._size - len(self._chunks[0].lines) >= self._limit:
            oldest = self._chunks.popleft()
            self._size -= len(oldest.lines)
            self._lost = oldest.number

    def tail(self, limit: int) -> list[Chunk]:
        """Return the newest whole lines, oldest first: at most `limit` bytes, and at most the ring's."""
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
        """Return the chunks that came after the one with this number, as far as they are still here."""
        return list(takewhile(lambda chunk: chunk.number > number, reversed(self._chunks)))[::-1]

    def has_lost_after(self, number: int) -> bool:
        """Tell whether a chunk that came after this number is no longer here."""
        return self._lost > number


def _last_lines(lines: bytes, room: int) -> bytes:
    return lines[lines.find(b"\n", len(lines) - room - 1) + 1 :]

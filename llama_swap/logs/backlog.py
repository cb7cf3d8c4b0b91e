"""The queue for a reader that is slower than the log."""

from __future__ import annotations

from collections import deque

from llama_swap.logs.ring import Chunk

BACKLOG_BYTES = 256 * 1024
"""The most that waits for one reader; beyond it, the oldest lines are dropped."""


class Backlog:
    """A queue of chunks, bounded in bytes.

    The oldest are dropped first, and counted: in their place, the reader gets a line that says how many.
    """

    def __init__(self, limit: int = BACKLOG_BYTES) -> None:
        self._limit = limit
        self._chunks: deque[Chunk] = deque()
        self._size = 0
        self._lost_bytes = 0
        self._lost_lines = 0
        self._lost_number = 0

    def push(self, chunk: Chunk) -> None:
        """Add a chunk, and drop the oldest ones if there is no room for all."""
        self._chunks.append(chunk)
        self._size += len(chunk.lines)
        while self._size > self._limit:
            oldest = self._take()
            self._lost_bytes += len(oldest.lines)
            self._lost_lines += oldest.lines.count(b"\n")
            self._lost_number = oldest.number

    def pop(self) -> Chunk | None:
        """Remove and return the oldest chunk, or the notice of what was lost before it; None if nothing waits."""
        if self._lost_bytes:
            lost = f"{self._lost_bytes} bytes dropped ({self._lost_lines} lines)"
            self._lost_bytes = self._lost_lines = 0
            return Chunk("", self._lost_number, f"— {lost}: the reader was too slow —\n".encode())
        return self._take() if self._chunks else None

    def clear(self) -> None:
        """Drop everything."""
        self._chunks.clear()
        self._size = self._lost_bytes = self._lost_lines = 0

    def _take(self) -> Chunk:
        chunk = self._chunks.popleft()
        self._size -= len(chunk.lines)
        return chunk

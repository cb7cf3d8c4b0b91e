"""A backlog is bounded, loses the oldest, and says so."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.logs.backlog import Backlog
from llama_swap.logs.ring import Chunk


class BacklogTests(SynchronousTestCase):
    """What comes out of a backlog."""

    def fill(self, limit: int, *lines: bytes) -> Backlog:
        """Return a backlog into which these chunks were put."""
        backlog = Backlog(limit)
        for number, chunk in enumerate(lines, 1):
            backlog.push(Chunk("m", number, chunk))
        return backlog

    def test_in_order(self) -> None:
        """With room for all, all come out as they went in."""
        backlog = self.fill(4, b"1\n", b"2\n")
        popped = [backlog.pop() for _ in range(3)]
        self.assertEqual(popped, [Chunk("m", 1, b"1\n"), Chunk("m", 2, b"2\n"), None])

    def test_oldest_lost(self) -> None:
        """Without room the oldest go, and a notice in their place counts their bytes and lines."""
        backlog = self.fill(6, b"1\n1\n", b"2\n", b"3\n", b"4\n")
        notice = backlog.pop()
        assert notice is not None
        self.assertEqual(notice.lines.decode(), "— 4 bytes dropped (2 lines): the reader was too slow —\n")
        self.assertEqual((notice.source, notice.number), ("", 1))
        self.assertEqual(backlog.pop(), Chunk("m", 2, b"2\n"))

    def test_counts_anew(self) -> None:
        """A loss is told once; the next one is counted from zero."""
        backlog = self.fill(2, b"1\n", b"2\n")
        self.assertIn(b"2 bytes", getattr(backlog.pop(), "lines", b""))
        backlog.push(Chunk("m", 3, b"3\n"))
        self.assertIn(b"2 bytes", getattr(backlog.pop(), "lines", b""))
        self.assertEqual(backlog.pop(), Chunk("m", 3, b"3\n"))
        self.assertIsNone(backlog.pop())

    def test_a_chunk_beyond_the_limit(self) -> None:
        """A chunk that never fits is lost with a notice, not kept."""
        backlog = self.fill(2, b"too long\n")
        self.assertIn(b"9 bytes dropped (1 lines)", getattr(backlog.pop(), "lines", b""))
        self.assertIsNone(backlog.pop())

    def test_clear(self) -> None:
        """After clearing, neither lines nor notices are left."""
        backlog = self.fill(2, b"1\n", b"2\n")
        backlog.clear()
        self.assertIsNone(backlog.pop())

"""A ring keeps the newest bytes, and gives them out in whole lines."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.logs.ring import RING_BYTES, Chunk, Ring


def filled(*lines: bytes, limit: int = RING_BYTES) -> Ring:
    """Return a ring with these chunks, numbered from 1."""
    ring = Ring(limit)
    for number, chunk in enumerate(lines, 1):
        ring.append(Chunk("m", number, chunk))
    return ring


def text(chunks: list[Chunk]) -> bytes:
    """Return the lines of chunks."""
    return b"".join(chunk.lines for chunk in chunks)


class TailTests(SynchronousTestCase):
    """The newest lines."""

    def test_empty(self) -> None:
        """A new ring has nothing."""
        self.assertEqual(Ring().tail(100), [])

    def test_all(self) -> None:
        """What fits is given in its order, as the very objects that came in."""
        chunk = Chunk("m", 1, b"one\ntwo\n")
        ring = Ring()
        ring.append(chunk)
        self.assertIs(ring.tail(100)[0], chunk)

    def test_whole_lines(self) -> None:
        """A chunk that fits in part is cut at a line's start, never inside of a line."""
        ring = filled(b"one\ntwo\nthree\n", b"four\n")
        expected = {19: b"one\ntwo\nthree\nfour\n", 18: b"two\nthree\nfour\n", 15: b"two\nthree\nfour\n"}
        expected |= {14: b"three\nfour\n", 10: b"four\n", 5: b"four\n", 4: b"", 0: b""}
        self.assertEqual({limit: text(ring.tail(limit)) for limit in expected}, expected)

    def test_never_more_than_the_ring(self) -> None:
        """The ring's own limit holds, however much is asked for."""
        ring = filled(*(b"%3d\n" % number for number in range(100)), limit=40)
        self.assertEqual(text(ring.tail(1000)), b"".join(b"%3d\n" % number for number in range(90, 100)))

    def test_memory(self) -> None:
        """At most one chunk more than the limit is kept."""
        ring = filled(*[b"x" * 999 + b"\n"] * 1000)
        self.assertEqual(len(text(ring.after(0))), 103_000)
        for last, kept in ((b"12345\n", b"2\n345\n12345\n"), (b"1234\n", b"1\n2\n345\n1234\n")):
            self.assertEqual(text(filled(b"1\n", b"2\n", b"345\n", last, limit=12).after(0)), kept)


class AfterTests(SynchronousTestCase):
    """Going on after a chunk."""

    def test_after(self) -> None:
        """Only later chunks are given, and nothing is said to be lost."""
        ring = filled(b"1\n", b"2\n", b"3\n")
        self.assertEqual([text(ring.after(number)) for number in (0, 2, 3)], [b"1\n2\n3\n", b"3\n", b""])
        self.assertFalse(ring.has_lost_after(0))

    def test_lost(self) -> None:
        """It is known whether later chunks are gone already."""
        ring = filled(b"1\n", b"2\n", b"3\n", b"4\n", limit=4)
        self.assertEqual(text(ring.after(0)), b"3\n4\n")
        self.assertEqual([ring.has_lost_after(number) for number in (0, 1, 2)], [True, True, False])

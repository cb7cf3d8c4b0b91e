"""Bodies that wait outside the memory."""

from __future__ import annotations

import os
import resource
import stat
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.spool import IN_MEMORY, PIECE, Edit, Spool, Spooled, edited
from llama_swap.errors import Unavailable
from tests.support_processes import own_files

BODY = bytes(range(256)) * 16


class SpoolTests(SynchronousTestCase):
    """In memory or in a file, what was written is there."""

    def spool(self, size: int, packet: int = 60_000) -> tuple[Spool, bytes]:
        """Return a spool with so many bytes, and the bytes."""
        body = (BODY * (size // len(BODY) + 1))[:size]
        spool = Spool()
        self.addCleanup(spool.close)
        for start in range(0, size, packet):
            spool.write(body[start : start + packet])
        return spool, body

    def test_any_part(self) -> None:
        """Any part can be read, again and again, on either side of the limit."""
        for size in (0, 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 7):
            spool, body = self.spool(size)
            self.assertEqual(spool.size, size)
            for start, end in ((0, size), (0, 0), (size // 3, size // 2), (59_999, 120_001), (size // 2, size)):
                for _ in range(2):
                    self.assertTrue(spool.read(start, min(end, size)) == body[start:end], (size, start, end))
            self.assertLessEqual(max(map(len, spool.pieces(0, size)), default=0), PIECE)

    def test_edited(self) -> None:
        """A spooled body may have something else in some places."""
        for size in (1000, 2 * IN_MEMORY):
            spool, body = self.spool(size)
            self.assertTrue(b"".join(Spooled(spool).pieces()) == body)
            for edits in (
                [Edit(10, 20, b"other")],
                [Edit(0, 3, b"")],
                [Edit(size - 3, size, b"x" * 3 * PIECE)],
                [Edit(5, 5, b"y"), Edit(5, 700, b""), Edit(700, 701, b"zz"), Edit(size, size, b"end")],
            ):
                changed, expected = Spooled(spool, edits), edited(body, edits)
                self.assertEqual(len(changed), len(expected))
                self.assertLessEqual(max(map(len, changed.pieces())), PIECE)
                for _ in range(2):
                    self.assertTrue(b"".join(changed.pieces()) == expected)

    def test_edits(self) -> None:
        """Edits put something in, take it out, or both, one after the other."""
        self.assertEqual(edited(b"0123456789", []), b"0123456789")
        edits = [Edit(0, 0, b"a"), Edit(1, 3, b"bcd"), Edit(3, 4, b""), Edit(10, 10, b"e")]
        self.assertEqual(edited(b"0123456789", edits), b"a0bcd456789e")

    @given(st.lists(st.binary(max_size=5)), st.integers(0, 30), st.integers(0, 30))
    def test_packets(self, packets: list[bytes], start: int, length: int) -> None:
        """Packets may be cut anywhere."""
        spool = Spool()
        for packet in packets:
            spool.write(packet)
        self.assertEqual(spool.read(start, start + length), b"".join(packets)[start : start + length])

    def test_file(self) -> None:
        """The file is for us only, has no name, and is gone when it is closed."""
        directory = Path(self.mktemp())
        directory.mkdir()
        self.patch(tempfile, "tempdir", str(directory))
        before = own_files()
        spool, _ = self.spool(IN_MEMORY)
        self.assertEqual(own_files(), before)
        spool.write(b"x")
        [descriptor] = own_files().keys() - before.keys()
        status = os.fstat(int(descriptor))
        self.assertEqual((stat.S_IMODE(status.st_mode), status.st_nlink), (0o600, 0))
        self.assertEqual(status.st_size, IN_MEMORY + 1)
        self.assertEqual(list(directory.iterdir()), [])
        spool.close()
        self.assertEqual(own_files(), before)
        spool.close()

    def test_no_room(self) -> None:
        """A full disk is an error that says so."""
        spool, _ = self.spool(IN_MEMORY)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (IN_MEMORY // 2, limits[1]))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, limits)
        error = self.assertRaises(Unavailable, spool.write, b"x")
        self.assertIn(f"cannot be kept in {tempfile.gettempdir()} (TMPDIR): File too large", str(error))

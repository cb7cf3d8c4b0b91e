"""Compressed contents: which can be read, and how much of them."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.metrics.codings import MOST, unpacked

TEXT = b'{"usage": {}}' * 50


class UnpackedTests(SynchronousTestCase):
    """`unpacked`."""

    def test_codings(self) -> None:
        """gzip, and deflate in both of its spellings."""
        bare = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        for coding, body in (
            ("gzip", gzip.compress(TEXT)),
            ("x-gzip", gzip.compress(TEXT)),
            ("deflate", zlib.compress(TEXT)),
            ("deflate", bare.compress(TEXT) + bare.flush()),
        ):
            self.assertEqual(unpacked(body, coding), TEXT, coding)

    def test_broken_off(self) -> None:
        """Of what is not complete, there is what has come."""
        flowing = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
        begun = flowing.compress(TEXT) + flowing.flush(zlib.Z_SYNC_FLUSH)
        self.assertEqual(unpacked(begun, "gzip"), TEXT)
        self.assertEqual(unpacked(b"", "gzip"), b"")

    def test_unreadable(self) -> None:
        """Other codings, several of them, and what is not what it should be."""
        packed = gzip.compress(TEXT)
        for coding in ("br", "zstd", "gzip, gzip", "deflate"):
            self.assertIsNone(unpacked(packed, coding), coding)
        for body in (TEXT, packed[:30] + b"\0" * 20, packed + packed):
            self.assertIsNone(unpacked(body, "gzip"))

    def test_bound(self) -> None:
        """What would become too large is not read, and takes no more memory than what would do."""
        self.assertEqual(len(unpacked(gzip.compress(bytes(MOST - 1)), "gzip") or b""), MOST - 1)
        bomb = gzip.compress(bytes(50 * MOST))
        tracemalloc.start()
        try:
            self.assertIsNone(unpacked(bomb, "gzip"))
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(most, 4 * MOST)

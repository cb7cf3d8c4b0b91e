"""Keeps a large body until its model is ready: in memory at first, all of it in a file once it has grown."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

from attrs import frozen

from llama_swap.errors import Unavailable

IN_MEMORY = 1024 * 1024
"""The most bytes of a body that are kept in memory: many clients may send at a time."""
PIECE = 256 * 1024
"""The most bytes that are read from the file at a time."""


class Spool:
    """Takes a body in the packets in which it comes, and returns any part of it, any number of times.

    The file has no name, so nobody else can open it, and its space is freed by `close`, or when the proxy ends.
    """

    def __init__(self) -> None:
        self.size = 0
        self._packets: list[bytes] = []
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        """Keep `data`, after what came before.

        @raise Unavailable: the file cannot be written, for example because the disk is full.
        """
        self.size += len(data)
        self._packets.append(data)
        if self._file is not None or self.size > IN_MEMORY:
            try:
                self._write_packets()
            except OSError as error:
                raise Unavailable(
                    f"the body cannot be kept in {tempfile.gettempdir()} (TMPDIR): {error.strerror}"
                ) from None

    def in_memory(self) -> bytes | None:
        """Return all that was written, if it is in memory."""
        if self._file is not None:
            return None
        self._packets = [b"".join(self._packets)]
        return self._packets[0]

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to `end`."""
        return b"".join(self.pieces(start, end))

    def pieces(self, start: int, end: int) -> Iterator[bytes]:
        """Return the bytes from `start` up to `end`, in pieces."""
        if self._file is None:
            yield from _cut(self._packets, start, end)
            return
        while start < end:
            piece = os.pread(self._file.fileno(), min(PIECE, end - start), start)
            if not piece:
                raise OSError("a body's file is shorter than it was")
            start += len(piece)
            yield piece

    def close(self) -> None:
        """Free the body's memory and file."""
        self._packets.clear()
        if self._file is not None:
            self._file.close()

    def _write_packets(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="llama-swap-", buffering=0)  # noqa: SIM115 -- see `close`
        for packet in self._packets:
            left = memoryview(packet)
            while left:
                left = left[self._file.write(left) :]
        self._packets.clear()


def _cut(packets: list[bytes], start: int, end: int) -> Iterator[bytes]:
    for packet in packets:
        if start < len(packet) and end > 0:
            yield packet[max(start, 0) : end]
        start -= len(packet)
        end -= len(packet)


class Edit(NamedTuple):
    """Replaces the bytes from `start` up to `end` by `instead`."""

    start: int
    end: int
    instead: bytes


def edited(text: bytes, edits: Iterable[Edit]) -> bytes:
    """Return `text` with `edits`, which are in order and do not overlap."""
    parts, position = [], 0
    for start, end, instead in edits:
        parts += [text[position:start], instead]
        position = end
    return b"".join([*parts, text[position:]])


@frozen
class Spooled:
    """A body in a spool, with `edits`, which are in order and do not overlap.

    See `llama_swap.http.headers.Body`.
    """

    _spool: Spool
    _edits: Sequence[Edit] = ()
    streams: bool = False
    """Whether it is JSON with `"stream": true`."""

    def __len__(self) -> int:
        """Return how many bytes it has."""
        return self._spool.size + sum(len(instead) - (end - start) for start, end, instead in self._edits)

    def pieces(self) -> Iterator[bytes]:
        """Return its bytes, in pieces."""
        position = 0
        for start, end, instead in self._edits:
            yield from self._spool.pieces(position, start)
            for offset in range(0, len(instead), PIECE):
                yield instead[offset : offset + PIECE]
            position = end
        yield from self._spool.pieces(position, self._spool.size)

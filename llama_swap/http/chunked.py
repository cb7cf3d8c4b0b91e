"""Follows the chunks of a body (RFC 9112 §7.1), so that they can be passed on as they came.  Pure.

For that, only the size lines must be read.  `SizedBody` is the same for bodies whose length is known.
"""

from __future__ import annotations

import re

from llama_swap.http.syntax import TCHAR

LAST_CHUNK = b"0\r\n\r\n"
LINE_LIMIT = 4096
TRAILER_LIMIT = 64 * 1024

_PLAIN_SIZE_LINE = re.compile(rb"(0{0,7}[1-9A-Fa-f][0-9A-Fa-f]{0,7})\r\n")
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
_TRAILERS = re.compile(rb"(?>(?:%b++:[\t\x20-\x7e\x80-\xff]*+\r\n)*)" % TCHAR.encode())


class MalformedChunks(ValueError):
    """A body that should be chunked is malformed."""


class ChunkedBody:
    """Reads a chunked body in slices.

    Trailers are dropped: they would belong to the head, which the client has long since got (RFC 9110 §6.5.1).
    """

    __slots__ = ("_after_data", "_held", "_in_trailers", "_left", "_raw", "_skipped", "ended", "surplus")

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw
        self._left = 0  # of the chunk's data
        self._after_data = False  # its line break is still due
        self._in_trailers = False
        self._skipped = 0  # bytes of trailers
        self._held = b""  # an unfinished line, which could still turn out to be the last
        self.ended = False
        self.surplus = b""
        """What came behind the end."""

    def feed(self, data: bytes) -> bytes:
        """Return what `data` brings of the body: chunks, or parts of them, with their framing if `raw`, else decoded.

        The last chunk is never part of it.

        @raise MalformedChunks: the framing is invalid.
        """
        if self._held:
            data, self._held = self._held + data, b""
        if self._in_trailers:
            self._skip_trailers(data, 0)
            return b""
        payload: list[bytes] = []
        end = self._walk(data, payload)
        if self._raw:
            return data if end == len(data) else data[:end]
        return b"".join(payload)

    def is_whole_chunk(self, data: bytes) -> bool:
        """Whether `data`, which comes next, is exactly one chunk; then it need not be fed."""
        if self._left or self._after_data or self._held or self._in_trailers:
            return False
        line = _PLAIN_SIZE_LINE.match(data)
        return line is not None and line.end() + int(line[1], 16) + 2 == len(data) and data.endswith(b"\r\n")

    def _walk(self, data: bytes, payload: list[bytes]) -> int:
        """Go from chunk to chunk; return where the unfinished line at the end of `data` begins."""
        position, size = 0, len(data)
        while position < size:
            if self._left:
                start = position
                position = min(size, position + self._left)
                self._left -= position - start
                self._after_data = not self._left
                if not self._raw:
                    payload.append(data[start:position])
            elif self._after_data:
                if not data.startswith(b"\r\n", position):
                    return self._hold(data, position, size - position < 2 and data[position] == 0x0D)
                position += 2
                self._after_data = False
            elif line := _SIZE_LINE.match(data, position):
                self._left = int(line[1], 16)
                if not self._left:
                    self._in_trailers = True
                    self._skip_trailers(data, line.end())
                    return position
                position = line.end()
            else:
                return self._hold(data, position, b"\n" not in data[position:] and size - position < LINE_LIMIT)
        return position

    def _hold(self, data: bytes, position: int, may_grow: bool) -> int:
        if not may_grow:
            raise MalformedChunks("its chunks are malformed")
        self._held = data[position:]
        return position

    def _skip_trailers(self, data: bytes, position: int) -> None:
        """Skip trailers, and look for the empty line behind them, which ends the body."""
        match = _TRAILERS.match(data, position)
        assert match is not None, "there may be none"
        end = match.end()
        self._skipped += end - position
        if data.startswith(b"\r\n", end):
            self.ended = True
            self.surplus = data[end + 2 :]
        else:
            left = data[end:]
            self._hold(data, end, b"\n" not in left and self._skipped + len(left) < TRAILER_LIMIT)


class BodyLength:
    """Counts the bytes of a body as it passes; if it comes `chunked`, its chunk framing is not counted."""

    def __init__(self, *, chunked: bool) -> None:
        self._chunks = ChunkedBody(raw=False) if chunked else None

    def of(self, data: bytes) -> int:
        """Return how many bytes of `data`, which comes next, belong to the body."""
        if self._chunks is None:
            return len(data)
        if self._chunks.is_whole_chunk(data):
            return len(data) - data.index(b"\r\n") - 4
        return len(self._chunks.feed(data))


class SizedBody:
    """Reads a body of known length, with the interface of `ChunkedBody`."""

    __slots__ = ("_left", "ended", "surplus")

    def __init__(self, length: int) -> None:
        self._left = length
        self.ended = False
        self.surplus = b""

    def feed(self, data: bytes) -> bytes:
        """Return what `data` brings."""
        payload = data[: self._left]
        self._left -= len(payload)
        if not self._left:
            self.ended = True
            self.surplus = data[len(payload) :]
        return payload

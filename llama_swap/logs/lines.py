"""Cuts process output, which arrives in arbitrary slices, into whole lines of bounded length.

The work is per slice, not per line: a model may print 50 MB a second, and a slice of that has hundreds of lines.
"""

from __future__ import annotations

MAX_LINE = 16 * 1024
"""The most bytes of a line, newline included; longer ones are cut into several."""


class LineSplitter:
    """Joins slices of one output stream into chunks of whole lines, each of which ends with LF.

    CR LF and a lone CR end a line as LF does: so a progress bar is seen moving, and does not become one
    endless line.  Where a long line is cut, no UTF-8 character is split.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._after_cr = False

    def feed(self, data: bytes) -> bytes:
        """Return the lines that `data` completes, as one chunk; empty if there are none."""
        data = self._with_newlines(data)
        end = data.rfind(b"\n") + 1
        lines = b""
        if end:
            lines = _fold(bytes(self._rest) + data[:end])
            self._rest = bytearray(data[end:])
        else:
            self._rest += data
        return lines + self._overlong() if len(self._rest) >= MAX_LINE else lines

    def end(self) -> bytes:
        """Return the unfinished line, if any, as a line, and reset the splitter."""
        rest, self._rest, self._after_cr = bytes(self._rest), bytearray(), False
        return rest + b"\n" if rest else b""

    def _with_newlines(self, data: bytes) -> bytes:
        if not data:
            return data
        # A CR at the end of a slice ends the line at once, so an LF at the start of the next is skipped.
        after_cr, self._after_cr = self._after_cr, data.endswith(b"\r")
        if after_cr and data.startswith(b"\n"):
            data = data[1:]
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _overlong(self) -> bytes:
        pieces = bytearray()
        while len(self._rest) >= MAX_LINE:
            cut = _before_character(self._rest, MAX_LINE - 1)
            pieces += self._rest[:cut] + b"\n"
            del self._rest[:cut]
        return bytes(pieces)


def _fold(lines: bytes) -> bytes:
    """Return whole `lines` with those longer than `MAX_LINE` cut; the same object if there are none."""
    pieces: list[bytes] = []
    start = done = 0
    while len(lines) - start > MAX_LINE:
        end = lines.rfind(b"\n", start, start + MAX_LINE) + 1
        if not end:
            end = _before_character(lines, start + MAX_LINE - 1)
            pieces += (lines[done:end], b"\n")
            done = end
        start = end
    return b"".join((*pieces, lines[done:])) if pieces else lines


def _before_character(text: bytes | bytearray, end: int) -> int:
    """Return the last index up to `end` where a UTF-8 character starts; `end` itself if it is not UTF-8."""
    for index in range(end, end - 4, -1):
        if text[index] & 0xC0 != 0x80:
            return index
    return end

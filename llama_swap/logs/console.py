"""Writes to the proxy's own stdout or stderr, which may be a pipe that nobody drains.

In the reactor's thread, that would block every stream.  Making it non-blocking is no solution: that flag belongs to the
open file description, which is shared with the shell and the models.  So a thread writes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from select import select
from threading import Condition, Thread

from llama_swap.logs.backlog import BACKLOG_BYTES, Backlog
from llama_swap.logs.ring import Chunk


class ConsoleWriter:
    """Writes whole lines to a file descriptor, in a thread; when too many wait, the oldest are dropped and counted.

    The thread starts with the first write, which must come after any fork.
    """

    def __init__(self, fd: int, limit: int = BACKLOG_BYTES) -> None:
        self._fd = fd
        self._backlog = Backlog(limit)
        self._changed = Condition()
        self._closed = False
        self._thread: Thread | None = None

    def write(self, lines: bytes) -> None:
        """Write `lines` as soon as possible; never blocks, and may be called in any thread."""
        with self._changed:
            if self._closed:
                return
            self._backlog.push(Chunk("", 0, lines))
            if self._thread is None:
                self._start()
            self._changed.notify()

    def close(self, patience: float = 1.0) -> None:
        """Take no more lines, and wait up to `patience` seconds until those that wait are written."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(patience)

    def _start(self) -> None:
        thread = Thread(target=self._drain, name="console", daemon=True)
        with suppress(RuntimeError):  # the system allows no more threads: tried again with the next lines
            thread.start()
            self._thread = thread

    def _drain(self) -> None:
        try:
            while chunk := self._next():
                self._write_all(memoryview(chunk.lines))
        except OSError:  # the terminal is gone, or the other end of the pipe
            with self._changed:
                self._closed = True
                self._backlog.clear()

    def _next(self) -> Chunk | None:
        with self._changed:
            while (chunk := self._backlog.pop()) is None and not self._closed:
                self._changed.wait()
            return chunk

    def _write_all(self, lines: memoryview) -> None:
        while lines:
            try:
                lines = lines[os.write(self._fd, lines) :]
            except BlockingIOError:  # another program that shares the file made it non-blocking
                select([], [self._fd], [])

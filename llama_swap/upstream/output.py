"""What a model's process prints: it goes to the logs, and the last lines are kept for error messages."""

from __future__ import annotations

from llama_swap.logs.broadcaster import Broadcaster

LAST_LIMIT = 1024


class Output:
    """Standard output and standard error of one process, by file descriptor."""

    def __init__(self, model: str, logs: Broadcaster) -> None:
        self._writers = {1: logs.writer(model), 2: logs.writer(model)}
        self._tail = b""
        self._speaker = 0  # the file descriptor that the end of the tail came from

    def write(self, fd: int, data: bytes) -> None:
        """Take what came from a file descriptor; each has its own lines."""
        self._writers[fd].write(data)
        seam = b"" if fd == self._speaker or self._tail.endswith(b"\n") else b"\n"
        self._tail = (self._tail + seam + data[-LAST_LIMIT:])[-LAST_LIMIT:]
        self._speaker = fd

    def end(self) -> None:
        """Nothing more will come."""
        for writer in self._writers.values():
            writer.end()

    def last(self) -> str:
        """Return the last few lines."""
        whole_lines = self._tail.partition(b"\n")[2] if len(self._tail) == LAST_LIMIT else b""
        return (whole_lines or self._tail).decode(errors="replace").strip()

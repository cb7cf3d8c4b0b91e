"""Reads a model's files into the page cache while the model before it still stops.

Most of a load is reading, which can begin early: the model's server then finds the files in memory.
"""

from __future__ import annotations

import os
import re
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from llama_swap.config.model import ModelConfig

STEP = 128 * 1024
"""Bytes.  Of a request for more than a device's own read-ahead (often 128 KiB), Linux reads no more than that."""
MAGIC = b"GGUF"
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")
"""A split model: llama.cpp is told the first file, and loads the others as well."""
_APART = ("=", "['\"]", r"[\s='\"]+")
"""What stands around the names of files in a word; a name that is quoted, or stands behind a «=», may have spaces."""


class ReadAhead:
    """Reads for one model at a time, the latest.  It is an optimisation: where it fails, nothing else does."""

    def __init__(self, run_beside: Callable[[Callable[[], None]], None]) -> None:
        """`run_beside` runs a function that may wait for disks in another thread."""
        self._run_beside = run_beside
        self._lock = threading.Lock()
        self._wanted: ModelConfig | None = None
        self._is_reading = False

    def begin(self, model: ModelConfig) -> None:
        """Read what `model` will load; stop reading for any other model."""
        with self._lock:
            self._wanted = model
            is_reading, self._is_reading = self._is_reading, True
        if not is_reading:
            try:
                self._run_beside(self._read_on)
            except RuntimeError:  # no thread can be started now
                self._is_reading = False

    def _read_on(self) -> None:
        while model := self._next():
            with suppress(OSError, ValueError):
                self._read(model)

    def _next(self) -> ModelConfig | None:
        with self._lock:
            model, self._wanted = self._wanted, None
            self._is_reading = model is not None
            return model

    def _read(self, model: ModelConfig) -> None:
        files = model_files((*model.cmd, *model.env.values()))
        if sum(file.stat().st_size for file in files) > available_memory():
            return  # it does not fit: what is read first would be evicted before it is needed
        for file in files:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                for offset in range(0, os.fstat(descriptor).st_size, STEP):
                    if self._wanted is not None:
                        return
                    os.posix_fadvise(descriptor, offset, STEP, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)


def model_files(words: Iterable[str]) -> list[Path]:
    """Return the GGUF files that `words` name, as words, behind a «=», or within a line for a shell."""
    named = dict.fromkeys(part for word in words for apart in _APART for part in (word, *re.split(apart, word)))
    return [file for name in named for file in _with_siblings(name) if _is_gguf(file)]


def available_memory() -> int:
    """Return how many bytes are available: https://man7.org/linux/man-pages/man5/proc_meminfo.5.html ."""
    with Path("/proc/meminfo").open() as lines:
        kilobytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), "0")
    return int(kilobytes) * 1024


def _with_siblings(name: str) -> Iterator[Path]:
    part = _PART.search(name)
    if part is None:
        yield Path(name)
        return
    for number in range(1, int(part[1]) + 1):
        yield Path(f"{name[: part.start()]}-{number:05}-of-{part[1]}.gguf")


def _is_gguf(file: Path) -> bool:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return False  # opening a pipe or a device may block, or have effects
        with file.open("rb", buffering=0) as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except (OSError, ValueError):
        return False

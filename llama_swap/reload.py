"""Reads the configuration again while the proxy runs.

What is read changes nothing before it is known to be whole and right.  So a bad file costs one warning, and the old
configuration goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.config.load import Loaded
from llama_swap.errors import SwapError


@define(eq=False)
class Reloading:
    """One reading at a time; whoever asks meanwhile gets one more after it, however many ask."""

    _read: Callable[[], Deferred[Loaded]]
    """Reads the files, where that keeps nobody waiting; fails with a SwapError where they cannot be used."""
    _apply: Callable[[Loaded], None]
    """Has everybody follow another configuration."""
    _reading: bool = False
    _wanted: bool = False

    _log: ClassVar[Logger] = Logger()

    def request(self) -> None:
        """Somebody says that the files have changed."""
        self._wanted = True
        if not self._reading:
            self._begin()

    def _begin(self) -> None:
        self._reading, self._wanted = True, False
        self._read().addCallback(self._apply).addErrback(self._refused).addCallback(self._ended)

    def _refused(self, failure: Failure) -> None:
        if failure.check(SwapError):
            problems = " | ".join(failure.getErrorMessage().splitlines())  # a line of a log is one line
            self._log.warn("not reloaded, the configuration stays as it was: {problems}", problems=problems)
        else:
            self._log.failure("the configuration cannot be reloaded", failure)

    def _ended(self, _: None) -> None:
        self._reading = False
        if self._wanted:
            self._begin()

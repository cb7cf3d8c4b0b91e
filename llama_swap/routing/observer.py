"""Who is told what happens to models, without influence on it."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Is told of each event before anything else follows from it."""

    def dropped(self, model: str) -> None:
        """It will not be started, although others have stopped for it."""

    def starting(self, model: str) -> None:
        """Its process is about to be started."""

    def ready(self, model: str) -> None:
        """It has passed its health check."""

    def failed(self, model: str) -> None:
        """It will not become ready."""

    def stopping(self, model: str, successor: str | None) -> None:
        """It is told to stop, to make room for `successor` if there is one."""

    def gone(self, model: str) -> None:
        """None of its processes is left."""


class Unobserved:
    """An `Observer` that ignores everything."""

    def _ignore(self, model: str, successor: str | None = None) -> None:
        """Do nothing."""

    dropped = starting = ready = failed = stopping = gone = _ignore

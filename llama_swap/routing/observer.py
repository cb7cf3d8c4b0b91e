"""Who sees what becomes of models, and has no say in it."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Is told before anything follows from it."""

    def dropped(self, model: str) -> None:
        """It will not be started, although others have stopped for it."""

    def starting(self, model: str) -> None:
        """Its process is about to be started."""

    def ready(self, model: str) -> None:
        """It answers."""

    def failed(self, model: str) -> None:
        """It will not become ready."""

    def stopping(self, model: str, successor: str | None) -> None:
        """It is told to stop, for the sake of `successor` if there is one."""

    def gone(self, model: str) -> None:
        """Nothing of it is left."""


class Unobserved:
    """Nobody looks."""

    def _ignore(self, model: str, successor: str | None = None) -> None:
        """That concerns nobody."""

    dropped = starting = ready = failed = stopping = gone = _ignore

"""Loads models before anybody asks for them, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import ClassVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger, LogLevel

from llama_swap.errors import NotReadyInTime, StartFailed, SwapError
from llama_swap.routing.router import Router
from llama_swap.scheduling.commands import Target

FAILURES = (StartFailed, NotReadyInTime)
"""The errors of models that could not be loaded; by all others, they are not wanted any more, or wanted by many."""


class Preload(Service):
    """Asks for a lease on each model in turn, and releases it; one that fails is logged, and the next one is loaded."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, router: Router) -> None:
        self._router = router
        self._loading: Deferred[None] | None = None
        self._next: list[str] = []
        router.unloading = self._forget

    def startService(self) -> None:
        """Load the models that the configuration names."""
        super().startService()
        self.load(self._router.config.preload)

    def stopService(self) -> None:
        """Load no more."""
        super().stopService()
        self._next.clear()
        if self._loading is not None:
            self._loading.cancel()

    def load(self, models: Iterable[str]) -> None:
        """Load `models`, after those that were asked for before; nothing once this was stopped."""
        if self.running:
            self._next += models
        if self._loading is None and self._next:
            self._loading = Deferred.fromCoroutine(self._load_all())
            self._loading.addErrback(lambda failure: failure.trap(CancelledError))
            self._loading.addBoth(self._rest)

    async def _load_all(self) -> None:
        while self._next:
            model = self._next.pop(0)
            self._log.info("preloading {model}", model=model)
            try:
                lease = await self._router.acquire(Target(model))
            except SwapError as error:
                level = LogLevel.error if isinstance(error, FAILURES) else LogLevel.info
                problem = " | ".join(str(error).splitlines())
                self._log.emit(level, "{model} was not preloaded: {problem}", model=model, problem=problem)
            except CancelledError:
                raise
            except Exception:  # noqa: BLE001 -- a defect: it must not keep the others from being loaded
                self._log.failure("{model} was not preloaded", model=model)
            else:
                lease.release()

    def _forget(self, models: Collection[str]) -> None:
        """These are unloaded: whoever asked for that does not want them loaded next."""
        self._next = [model for model in self._next if model not in models]

    def _rest(self, _: object) -> None:
        self._loading = None

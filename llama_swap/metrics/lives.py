"""Counts loads, swaps, evictions and crashes of models."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from llama_swap.metrics.tallies import Tallies


@define(eq=False)
class ModelLives:
    """Sees what the router does with its models (see `llama_swap.routing.observer.Observer`)."""

    _tallies: Tallies
    _clock: IReactorTime
    _started: dict[str, float] = field(factory=dict, init=False)
    """When each model that is being loaded was started."""
    _swapping: dict[str, float] = field(factory=dict, init=False)
    """Since when others stop for each of these models."""
    _ready: set[str] = field(factory=set, init=False)
    """Models that nobody has told to stop."""

    def dropped(self, model: str) -> None:
        """It will not be started."""
        self._swapping.pop(model, None)

    def starting(self, model: str) -> None:
        """Its process is started."""
        self._started[model] = self._clock.seconds()

    def ready(self, model: str) -> None:
        """It answers."""
        now = self._clock.seconds()
        self._ready.add(model)
        self._tallies[model].loads.add(now - self._started.pop(model, now))
        if (began := self._swapping.pop(model, None)) is not None:
            self._tallies[model].swaps.add(now - began)

    def failed(self, model: str) -> None:
        """It will not answer."""
        self._tallies[model].failures += 1
        self._started.pop(model, None)
        self._swapping.pop(model, None)

    def stopping(self, model: str, successor: str | None) -> None:
        """It is told to stop, perhaps to make room for another one."""
        self._ready.discard(model)
        self._started.pop(model, None)
        self._swapping.pop(model, None)
        if successor is not None:
            self._tallies[model].evictions += 1
            if successor not in self._ready:
                self._swapping.setdefault(successor, self._clock.seconds())

    def gone(self, model: str) -> None:
        """Nothing of it is left."""
        if model in self._ready:
            self._ready.remove(model)
            self._tallies[model].crashes += 1

"""Counts loads, swaps, evictions and crashes of models."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from llama_swap.metrics.tallies import Tallies


@define(eq=False)
class ModelLives:
    """Observes the router's models; its methods are those of `llama_swap.routing.observer.Observer`."""

    _tallies: Tallies
    _clock: IReactorTime
    _started: dict[str, float] = field(factory=dict, init=False)
    """When each model that is not ready was last started, by the clock."""
    _swapping: dict[str, float] = field(factory=dict, init=False)
    """When the first other model was told to stop for each of these, by the clock."""
    _ready: set[str] = field(factory=set, init=False)
    """Models that are ready, and were not told to stop."""

    def dropped(self, model: str) -> None:
        """The model will not be started."""
        self._swapping.pop(model, None)

    def starting(self, model: str) -> None:
        """The model's process is started."""
        self._started[model] = self._clock.seconds()

    def ready(self, model: str) -> None:
        """The model is ready for requests."""
        now = self._clock.seconds()
        self._ready.add(model)
        self._tallies[model].loads.add(now - self._started.pop(model, now))
        if (began := self._swapping.pop(model, None)) is not None:
            self._tallies[model].swaps.add(now - began)

    def failed(self, model: str) -> None:
        """The model could not be loaded."""
        self._tallies[model].failures += 1
        self._swapping.pop(model, None)

    def stopping(self, model: str, successor: str | None) -> None:
        """It is told to stop, perhaps to make room for another one."""
        self._ready.discard(model)
        self._swapping.pop(model, None)
        if successor is not None:
            self._tallies[model].evictions += 1
            if successor not in self._ready:
                self._swapping.setdefault(successor, self._clock.seconds())

    def gone(self, model: str) -> None:
        """The model's process has ended."""
        if model in self._ready:
            self._ready.remove(model)
            self._tallies[model].crashes += 1

"""All models: as they are configured, and as they run.

The two differ after the configuration has changed, for as long as a process of the previous one runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IReactorTime

from llama_swap.config.model import Config, ModelConfig
from llama_swap.routing.difference import stale
from llama_swap.routing.upstream import Mishap, Upstream

RETIREMENT = 30.0
"""Seconds for which a model whose configuration has changed may finish its answers."""


class Upstreams:
    """The configured models, and those that still run though they are no longer configured, by id.

    Anybody may ask how they are; only the router changes anything.
    """

    def __init__(
        self,
        config: Config,
        clock: IReactorTime,
        make: Callable[[ModelConfig], Upstream],
        overdue: Callable[[str], None],
    ) -> None:
        """`overdue` is called with each model whose `RETIREMENT` has passed."""
        self._config = config
        self._clock = clock
        self._make = make
        self._overdue = overdue
        self._by_id = {model.id: make(model) for model in config.models.values()}

    def __getitem__(self, model: str) -> Upstream:
        return self._by_id[model]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_id)

    def get(self, model: str) -> Upstream | None:
        """Return a model, if it is there."""
        return self._by_id.get(model)

    def states(self) -> dict[str, str]:
        """Return the state of every model that is not stopped."""
        return {name: upstream.state for name, upstream in self._by_id.items() if upstream.state != "stopped"}

    def ready_since(self) -> dict[str, float]:
        """Return since when each ready model is ready, in seconds of the clock."""
        return {name: upstream.ready_since for name, upstream in self._by_id.items() if upstream.state == "ready"}

    def mishaps(self) -> dict[str, Mishap]:
        """Return the last failures, by model, until the models are started again."""
        return {name: upstream.mishap for name, upstream in self._by_id.items() if upstream.mishap is not None}

    def running(self) -> list[tuple[ModelConfig, str]]:
        """Return every model that is not stopped, as it was started, and its state; sorted by id."""
        return [(self._by_id[name].core.model, state) for name, state in sorted(self.states().items())]

    def ports(self) -> dict[str, int]:
        """Return the value of `${PORT}` by model, for those that are configured and those that still run."""
        models = [upstream.core.model for upstream in self._by_id.values()]
        return {model.id: model.port for model in models if model.port is not None}

    def kill_all(self) -> None:
        """Kill every process that is still there."""
        for upstream in self._by_id.values():
            if upstream.core.child is not None:
                upstream.core.child.kill()

    def leaving(self, address: tuple[str, int]) -> Upstream | None:
        """Return a model that has a process at `address`, and stops or must end."""
        for upstream in self._by_id.values():
            running = upstream.core.model
            is_there = upstream.core.child is not None and running.address == address
            if is_there and (upstream.state == "stopping" or stale([running], self._config)):
                return upstream
        return None

    def follow(self, config: Config) -> frozenset[str]:
        """Use `config`; return the ids of the models that run for the previous one, and must end."""
        self._config = config
        retiring = stale([model for model, _ in self.running()], config)
        for model in {*self._by_id, *config.models}:
            self.renew(model)
        return retiring

    def renew(self, model: str) -> None:
        """Use a model as it is configured now, unless a process of its previous configuration runs."""
        config, upstream = self._config.models.get(model), self._by_id.get(model)
        if upstream is not None and upstream.state != "stopped":
            if config is not None and not stale([upstream.core.model], self._config):
                upstream.adopt(config)
        elif config is None:
            del self._by_id[model]
        elif upstream is None or upstream.core.model != config:
            self._by_id[model] = self._make(config)

    def set_deadlines(self, retiring: frozenset[str]) -> None:
        """Set the deadline of those models in `retiring` that have answers under way; cancel all others."""
        for model, upstream in self._by_id.items():
            if model not in retiring or upstream.state != "ready":
                upstream.cancel_deadline()
            elif upstream.deadline is None:
                upstream.deadline = self._clock.callLater(RETIREMENT, self._overdue, model)

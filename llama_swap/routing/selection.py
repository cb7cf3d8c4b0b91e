"""Chooses the target of a selector for a request.  Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import frozen

from llama_swap.config.model import Selector

UP: Final = frozenset({"starting", "ready"})
"""The states of a model that serves or will serve; one that stops would have to be started again."""


@frozen
class Usage:
    """The state and load of a target."""

    state: str = "stopped"
    """As `Upstreams.states` has it."""
    requests: int = 0
    """Requests in flight, and requests that wait for it."""

    @property
    def is_active(self) -> bool:
        """Whether the target runs, or will soon."""
        return self.requests > 0 or self.state in UP


def choose(selector: Selector, usage: Callable[[str], Usage], turn: int) -> str:
    """Return a target of `selector`; `turn`, which differs from call to call, decides between equally busy ones."""
    if selector.strategy == "pin":
        return selector.targets[0]
    now = {target: usage(target) for target in selector.targets}
    if selector.strategy == "warm":
        ready = (target for target, used in now.items() if used.state == "ready")
        starting = (target for target, used in now.items() if used.state == "starting")
        return next(ready, None) or next(starting, selector.targets[0])
    active = [target for target, used in now.items() if used.is_active]
    asleep = [target for target in now if target not in active]
    least = min((now[target].requests for target in active), default=selector.spillover)
    if asleep and least >= selector.spillover:
        return asleep[0]
    idlest = [target for target in active if now[target].requests == least]
    return idlest[turn % len(idlest)]

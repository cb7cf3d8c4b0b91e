"""What a configuration says about scheduling."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from llama_swap.config.model import Config
from llama_swap.scheduling.addresses import DistinctAddresses
from llama_swap.scheduling.commands import Plan, Policy, Target
from llama_swap.scheduling.groups import Groups
from llama_swap.scheduling.matrix import Combinations
from llama_swap.scheduling.profiles import ListProfiles

MOST_WAITING = 100
"""Waiting tickets of all models together; more if the raised limits of some models add up to more."""
USUAL_LIMIT = 10
"""What `concurrencyLimit` is by default."""


@frozen
class UnlessCold:
    """Starts and stops nothing for a request that may not; another policy decides for all others."""

    otherwise: Policy

    def plan(self, target: Target, running: frozenset[str]) -> Plan:
        """See `Policy.plan`."""
        return self.otherwise.plan(target, running) if target.if_cold is None else Plan()


@frozen
class Rules:
    """The rules of the scheduler."""

    policy: Policy
    limits: Mapping[str, int]
    """The most tickets, waiting and served, for each model."""
    max_wait: float
    """Seconds that a ticket waits before later ones may no longer keep models busy at its cost."""
    head_starts: Mapping[str, float] = field(factory=dict)
    """Seconds by which the tickets of a model go before others of the same arrival."""
    most_waiting: int = field(init=False)
    """How many tickets may wait for models that are not ready, of all models together."""

    @most_waiting.default
    def _(self) -> int:
        return max(MOST_WAITING, sum(limit for limit in self.limits.values() if limit > USUAL_LIMIT))


def rules_of(config: Config) -> Rules:
    """Return the rules of a configuration."""
    groups, matrix = config.routing.groups, config.routing.matrix
    persistent = frozenset(member for group in groups.values() if group.persistent for member in group.members)
    otherwise = Groups(groups) if matrix is None else Combinations(matrix.combinations, matrix.evict_costs)
    addresses = {model.id: model.address for model in config.models.values()}
    return Rules(
        UnlessCold(DistinctAddresses(ListProfiles(config.profiles, otherwise, persistent), addresses)),
        {model.id: model.concurrency_limit for model in config.models.values()},
        config.max_wait,
        head_starts(config),
    )


def head_starts(config: Config) -> dict[str, float]:
    """Return the head start that each model's priority gives, in seconds.

    The highest priority has `max_wait` over the lowest, so that priorities starve nobody; the levels between are evenly
    spaced.
    """
    priority = config.routing.priority
    levels = sorted({priority.get(model, 0) for model in config.models})
    step = config.max_wait / max(1, len(levels) - 1)
    return {model: levels.index(priority.get(model, 0)) * step for model in config.models}

"""Models that share an address take turns, whatever a policy says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping

from attrs import define, field

from llama_swap.scheduling.commands import Plan, Policy, Target


@define
class DistinctAddresses:
    """Lets no two models at one address run together: the target comes first, then those that run already."""

    policy: Policy
    addresses: Mapping[str, Hashable]
    """Where each model listens."""
    _neighbours: dict[str, frozenset[str]] = field(init=False)
    """The other models at a model's address, for models that share theirs."""

    @_neighbours.default
    def _(self) -> dict[str, frozenset[str]]:
        tenants: defaultdict[Hashable, set[str]] = defaultdict(set)
        for model, address in self.addresses.items():
            tenants[address].add(model)
        return {model: frozenset(all_ - {model}) for all_ in tenants.values() if len(all_) > 1 for model in all_}

    def plan(self, target: Target, running: frozenset[str]) -> Plan:
        """See `Policy.plan`."""
        plan = self.policy.plan(target, running)
        if not self._neighbours:
            return plan
        evict = plan.evict | (running & self._of(target.model))
        taken = self._of(target.model).union(*map(self._of, running - evict))
        alongside = []
        for model in plan.alongside:
            if model not in taken:
                alongside.append(model)
                taken |= self._of(model)
        return Plan(evict, tuple(alongside))

    def _of(self, model: str) -> frozenset[str]:
        return self._neighbours.get(model, frozenset())

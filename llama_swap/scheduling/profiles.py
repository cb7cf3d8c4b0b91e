"""One model at a time, but for list profiles, whose members run side by side."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping

from attrs import frozen

from llama_swap.scheduling.commands import Plan, Target


@frozen
class ListProfiles:
    """Makes the running set equal to the profile that is asked for, or to the one model that is.

    Members that share an address take turns: the target comes first, then whoever runs already.
    """

    profiles: Mapping[str, tuple[str, ...]]
    addresses: Mapping[str, Hashable]
    """Where each model listens; models at one address cannot run together."""

    def plan(self, target: Target, running: frozenset[str]) -> Plan:
        """See `Policy.plan`."""
        members = self.profiles[target.profile] if target.profile is not None else ()
        by_turn = [target.model, *sorted(members, key=lambda member: member not in running)]
        together = self._at_distinct_addresses(by_turn)
        return Plan(evict=running.difference(together), alongside=tuple(together[1:]))

    def _at_distinct_addresses(self, models: Iterable[str]) -> list[str]:
        """Return `models` without those whose address an earlier one takes."""
        chosen: dict[Hashable, str] = {}
        for model in models:
            chosen.setdefault(self.addresses[model], model)
        return list(chosen.values())

"""List profiles, whose members run side by side."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from llama_swap.scheduling.commands import Plan, Policy, Target


@frozen
class ListProfiles:
    """Makes the running set equal to the profile that is asked for; another policy decides where none is."""

    profiles: Mapping[str, tuple[str, ...]]
    otherwise: Policy
    persistent: frozenset[str] = frozenset()
    """Models that no profile stops."""

    def plan(self, target: Target, running: frozenset[str]) -> Plan:
        """See `Policy.plan`."""
        if target.profile is None:
            return self.otherwise.plan(target, running)
        members = self.profiles.get(target.profile, ())
        evict = running.difference(members, self.persistent, {target.model})
        return Plan(evict, tuple(member for member in members if member != target.model))

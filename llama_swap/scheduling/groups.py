"""Groups of models: who goes when one of them is wanted."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from llama_swap.config.model import Group
from llama_swap.scheduling.commands import Plan, Target

_ALONE = Group()
"""For models that are in no group: one at a time, and nobody else's but those of persistent groups."""


@define
class Groups:
    """Evicts the other members of the target's group if it has `swap`, and other groups if it is `exclusive`.

    Models in no group are a group of their own, with both.  A persistent group is evicted for no other.
    """

    groups: Mapping[str, Group]
    _group_of: dict[str, Group] = field(init=False)

    @_group_of.default
    def _(self) -> dict[str, Group]:
        return {member: group for group in self.groups.values() for member in group.members}

    def plan(self, target: Target, running: frozenset[str]) -> Plan:
        """See `Policy.plan`."""
        own = self._group_of.get(target.model, _ALONE)
        return Plan(frozenset(model for model in running if model != target.model and self._goes(model, own)))

    def _goes(self, model: str, own: Group) -> bool:
        """Whether `model` goes for another one, which is in the group `own`."""
        group = self._group_of.get(model, _ALONE)
        return own.swap if group is own else own.exclusive and not group.persistent

"""Groups of models: who goes when one of them is wanted."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

from llama_swap.config.model import Group
from llama_swap.scheduling.commands import Plan, Target

_ALONE = Group()
"""The group of models that are in no other: one runs at a time, beside persistent groups only."""


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
        """Whether `model` is evicted for a model of the group `own`."""
        group = self._group_of.get(model, _ALONE)
        return own.swap if group is own else own.exclusive and not group.persistent

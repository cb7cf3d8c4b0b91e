"""Reads `groups`: models that take turns, or run side by side."""

from __future__ import annotations

from typing import Final

from llama_swap.config.fields import Key, read_keys
from llama_swap.config.kinds import Flag, Section
from llama_swap.config.macros import Scope
from llama_swap.config.model import Group
from llama_swap.config.names import NameList, read_names
from llama_swap.config.references import Known
from llama_swap.config.tree import MapNode, Node

GROUP: Final = (
    Key("members", Section(NameList().schema()), "The models of the group."),
    Key("swap", Flag(True), "Whether only one of them runs at a time."),
    Key("exclusive", Flag(True), "Whether loading one of them unloads the models of other groups."),
    Key("persistent", Flag(), "Whether other groups leave its models alone."),
)


def read_groups(section: Node, known: Known, scope: Scope) -> dict[str, Group]:
    """Return the groups by name; `section` is not null."""
    if not isinstance(section, MapNode):
        scope.found.error(section, f"must be a mapping of group names to their settings, not {section.summary}")
        return {}
    groups: dict[str, Group] = {}
    owners: dict[str, str] = {}
    for name, node in section.entries.items():
        if node.is_null:
            groups[name] = Group()
        elif isinstance(node, MapNode):
            values = read_keys(node, GROUP, scope.expand, scope.found)
            values["members"] = _members(values["members"], name, known, owners, scope)
            groups[name] = group = Group(**values)
            if not group.swap:
                known.warn_of_shared_addresses(group.members, node, scope.found)
        else:
            scope.found.error(node, f"must be a mapping with `members`, not {node.summary}")
    return groups


def _members(node: Node | None, group: str, known: Known, owners: dict[str, str], scope: Scope) -> tuple[str, ...]:
    """Return the ids of a group's members; `owners` maps models to the group that already has them."""
    found, members = scope.found, []
    for member in read_names(scope.expand(node), found) if node is not None else []:
        model = known.names.get(member.text)
        if model is None:
            found.warn(member, f"{known.unknown(member.text)}; the group goes without it")
        elif model not in owners:
            owners[model] = group
            members.append(model)
        elif owners[model] == group:
            found.warn(member, f"the model {model!r} is a member twice")
        else:
            found.error(member, f"model member {model} is used in multiple groups: {owners[model]} and {group}")
    return tuple(members)

"""List profiles: models that run side by side."""

from __future__ import annotations

from llama_swap.config.kinds import is_name, read_names
from llama_swap.config.macros import Scope
from llama_swap.config.references import Known
from llama_swap.config.tree import Findings, MapNode, Node


def read_profiles(section: Node | None, known: Known, scope: Scope) -> dict[str, tuple[str, ...]]:
    """Return the ids of the members of each list profile."""
    found = scope.found
    if section is None or section.is_empty:
        return {}
    if not isinstance(section, MapNode):
        found.error(section, f"must be a mapping of profile names to lists of models, not {section.summary}")
        return {}
    profiles = {}
    for name, node in section.entries.items():
        if isinstance(node, MapNode):
            found.warn(node, "a profile with `pins` is not active in this version yet: ignored")
            continue
        if not is_name(name) or ":" in name:
            found.warn(node, "no request can name this profile; use a name without ':' and control characters")
        profiles[name] = () if node.is_empty else _members(scope.expand(node), known, found)
        known.warn_of_shared_addresses(profiles[name], node, found)
    return profiles


def _members(node: Node, known: Known, found: Findings) -> tuple[str, ...]:
    members: dict[str, None] = {}
    for member in read_names(node, found):
        id_ = known.names.get(member.text)
        if id_ is None:
            found.error(member, known.unknown(member.text))
        elif id_ in members:
            found.warn(member, f"the model {id_!r} is a member twice")
        else:
            members[id_] = None
    return tuple(members)

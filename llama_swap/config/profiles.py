"""List profiles: models that run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from llama_swap.config.kinds import is_name, read_names
from llama_swap.config.macros import Scope
from llama_swap.config.model import ModelConfig
from llama_swap.config.tree import Findings, MapNode, Node


def read_profiles(section: Node | None, names: Mapping[str, str], scope: Scope) -> dict[str, tuple[str, ...]]:
    """Return the ids of the members of each list profile; `names` maps ids and aliases to ids."""
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
        profiles[name] = () if node.is_empty else _members(scope.expand(node), names, found)
    return profiles


def _members(node: Node, names: Mapping[str, str], found: Findings) -> tuple[str, ...]:
    members: dict[str, None] = {}
    for member in read_names(node, found):
        id_ = names.get(member.text)
        if id_ is None:
            found.error(member, f"there is no model or alias {member.text!r}{_known(member.text, names)}")
        elif id_ in members:
            found.warn(member, f"the model {id_!r} is a member twice")
        else:
            members[id_] = None
    return tuple(members)


def _known(name: str, names: Mapping[str, str]) -> str:
    close = get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def warn_of_shared_addresses(
    section: Node | None,
    profiles: Mapping[str, tuple[str, ...]],
    models: Mapping[str, ModelConfig],
    found: Findings,
) -> None:
    """Warn about members of one profile that cannot run at the same time."""
    if not isinstance(section, MapNode):
        return
    for profile, members in profiles.items():
        sharing: dict[tuple[str, int], list[str]] = {}
        for member in members:
            sharing.setdefault(models[member].address, []).append(member)
        for (host, port), ids in sharing.items():
            if len(ids) > 1:
                turns = "they take turns instead of running side by side; give each a port of its own"
                found.warn(section.entries[profile], f"{', '.join(ids)} all listen on {host}:{port}, so {turns}")

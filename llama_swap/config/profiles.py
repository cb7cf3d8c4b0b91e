"""Reads both kinds of `profiles`: lists of models that run side by side, and pins, which redirect names."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from llama_swap.config.fields import Key, read_keys
from llama_swap.config.kinds import Section, Text
from llama_swap.config.macros import Scope
from llama_swap.config.model import PinProfile
from llama_swap.config.names import is_name, read_names
from llama_swap.config.references import Known
from llama_swap.config.tree import Findings, MapNode, Node, Scalar

PINS: Final = (
    Key("description", Text(), "A text for people to read."),
    Key("pins", Section({}), "What names stand for while this profile is the active one; null: nothing."),
)


def read_profiles(section: Node | None, known: Known, scope: Scope) -> dict[str, tuple[str, ...]]:
    """Return the ids of the members of each list profile."""
    found = scope.found
    if section is not None and not section.is_empty and not isinstance(section, MapNode):
        found.error(section, f"must be a mapping of profile names to lists of models, not {section.summary}")
    profiles = {}
    for name, node in _entries(section).items():
        if not isinstance(node, MapNode):
            if not is_name(name) or ":" in name:
                found.warn(node, "no request can name this profile; use a name without ':' and control characters")
            profiles[name] = () if node.is_empty else _members(scope.expand(node), known, found)
            known.warn_of_shared_addresses(profiles[name], node, found)
    return profiles


def read_pin_profiles(
    section: Node | None, known: Known, selectors: Collection[str], scope: Scope
) -> dict[str, PinProfile]:
    """Return the profiles that have pins."""
    profiles = {}
    for name, node in _entries(section).items():
        if isinstance(node, MapNode):
            values = read_keys(node, PINS, scope.expand, scope.found)
            values["pins"] = _pins(values["pins"], known, selectors, scope)
            profiles[name] = PinProfile(**values)
    return profiles


def _entries(section: Node | None) -> dict[str, Node]:
    return section.entries if isinstance(section, MapNode) else {}


def _pins(section: Node | None, known: Known, selectors: Collection[str], scope: Scope) -> dict[str, str | None]:
    found = scope.found
    if section is not None and not section.is_empty and not isinstance(section, MapNode):
        found.error(section, f"must be a mapping of names to what they stand for, not {section.summary}")
    pins: dict[str, str | None] = {}
    for name, node in _entries(section).items():
        target = scope.expand(node)
        if not isinstance(target, Scalar):
            found.error(target, f"must be the name of a model, or null, not {target.summary}")
        elif target.is_null or not target.text:
            pins[name] = None
        elif known.reaches(target.text) or target.text in selectors:
            pins[name] = target.text
        else:
            found.error(target, known.unknown(target.text))
    return pins


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

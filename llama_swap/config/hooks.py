"""Reads `hooks`: what is done at startup."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from attrs import frozen

from llama_swap.config.fields import Key, read_keys
from llama_swap.config.kinds import Section, Text
from llama_swap.config.macros import Scope
from llama_swap.config.names import NameList, read_names
from llama_swap.config.references import Known
from llama_swap.config.tree import MapNode, Node

_ON_STARTUP: Final = (
    Key("preload", Section(NameList().schema()), "Models to load, one after the other, at the start."),
    Key("profile", Text(None), "The profile whose pins hold from the start on, and after a reload."),
)
_HOOKS: Final = (Key("on_startup", Section({}), "What happens at the start."),)


@frozen
class Hooks:
    """What `hooks.on_startup` asks for."""

    preload: tuple[str, ...] = ()
    """Ids of models; unknown ones are left out."""
    profile: str | None = None
    """A profile with pins."""


def read_hooks(section: Node | None, known: Known, profiles: Collection[str], scope: Scope) -> Hooks:
    """Return what a section asks for; `profiles` has the names of the profiles with pins."""
    for table in (_HOOKS, _ON_STARTUP):
        if section is None or section.is_empty:
            return Hooks()
        if not isinstance(section, MapNode):
            scope.found.error(section, f"must be a mapping with `{table[0].name}`, not {section.summary}")
            return Hooks()
        values, at = read_keys(section, table, scope.expand, scope.found), section
        section = values[table[0].attribute]
    profile = values["profile"]
    if profile is not None and profile not in profiles:
        scope.found.error(at.entries["profile"], f"there is no profile {profile!r} with pins")
    return Hooks(_preload(section, known, scope), profile)


def _preload(section: Node | None, known: Known, scope: Scope) -> tuple[str, ...]:
    preload: dict[str, None] = {}
    for item in read_names(scope.expand(section), scope.found) if section is not None and not section.is_empty else []:
        if item.text.strip() in known.names:
            preload[known.names[item.text.strip()]] = None
        else:
            scope.found.warn(item, f"{known.unknown(item.text)}; it is not loaded at the start")
    return tuple(preload)

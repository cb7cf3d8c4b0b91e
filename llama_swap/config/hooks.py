"""`hooks`: what is to happen by itself."""

from __future__ import annotations

from typing import Final

from llama_swap.config.keys import Key, read_keys
from llama_swap.config.kinds import Names, Section, read_names
from llama_swap.config.macros import Scope
from llama_swap.config.references import Known
from llama_swap.config.tree import MapNode, Node

_ON_STARTUP: Final = (Key("preload", Section(Names().schema()), "Models to load, one after the other, at the start."),)
_HOOKS: Final = (Key("on_startup", Section({}), "What happens at the start."),)


def read_preload(section: Node | None, known: Known, scope: Scope) -> tuple[str, ...]:
    """Return the ids of the models that are to be loaded at the start; unknown ones are left out."""
    for table in (_HOOKS, _ON_STARTUP):
        if section is None or section.is_empty:
            return ()
        if not isinstance(section, MapNode):
            scope.found.error(section, f"must be a mapping with `{table[0].name}`, not {section.summary}")
            return ()
        section = read_keys(section, table, scope.expand, scope.found)[table[0].attribute]
    preload: dict[str, None] = {}
    for item in read_names(scope.expand(section), scope.found) if section is not None and not section.is_empty else []:
        if item.text.strip() in known.names:
            preload[known.names[item.text.strip()]] = None
        else:
            scope.found.warn(item, f"{known.unknown(item.text)}; it is not loaded at the start")
    return tuple(preload)

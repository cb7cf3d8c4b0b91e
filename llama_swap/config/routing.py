"""Reads which models may run together, and whose requests go first: `routing`, or the older `groups` and `matrix`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from llama_swap.config.fields import Key, read_keys
from llama_swap.config.groups import read_groups
from llama_swap.config.kinds import Section, Text
from llama_swap.config.macros import Scope
from llama_swap.config.matrix import read_matrix
from llama_swap.config.model import Routing
from llama_swap.config.quantities import Whole
from llama_swap.config.references import Known
from llama_swap.config.tree import MapNode, Node

_MAPPING: Final = Section({"type": ["object", "null"]})

ROUTING: Final = (
    Key("router", _MAPPING, "Which models may run together."),
    Key("scheduler", _MAPPING, "Whose requests go first."),
)
ROUTER: Final = (
    Key("use", Text(None), "group or matrix."),
    Key("settings", _MAPPING, "Those of the one that is used."),
)
ROUTER_SETTINGS: Final = (
    Key("groups", _MAPPING, "As `groups` at the top level."),
    Key("matrix", _MAPPING, "As `matrix` at the top level."),
)
SCHEDULER: Final = (
    Key("use", Text("fifo"), "Only fifo."),
    Key("settings", _MAPPING, "Those of the one that is used."),
)
SCHEDULER_SETTINGS: Final = (Key("fifo", _MAPPING, "First come, first served."),)
FIFO: Final = (Key("priority", _MAPPING, "A number for each model that does not have 0; higher ones go first."),)

_PRIORITY: Final = Whole(0, least=-(2**31))


@frozen
class _Written:
    """The sections with groups and a matrix that one place of the file has."""

    groups: Node | None
    matrix: Node | None

    @property
    def any(self) -> Node | None:
        """Either of them, or None."""
        return self.groups or self.matrix


def read_routing(top: Mapping[str, Any], known: Known, scope: Scope) -> Routing:
    """Return the result of the sections `routing`, `groups` and `matrix`; `top` has the nodes of the top level."""
    routing = _values(top["routing"], ROUTING, scope)
    written = _choice(top, routing["router"], scope)
    return Routing(
        groups=read_groups(written.groups, known, scope) if written.groups else {},
        matrix=read_matrix(written.matrix, known, scope) if written.matrix else None,
        priority=_priority(routing["scheduler"], known, scope),
    )


def _choice(top: Mapping[str, Any], router: Node | None, scope: Scope) -> _Written:
    """Return the sections that are used; conflicts between them are errors."""
    values = _values(router, ROUTER, scope)
    settings = _values(values["settings"], ROUTER_SETTINGS, scope)
    old = _Written(_present(top["groups"]), _present(top["matrix"]))
    new = _Written(_present(settings["groups"]), _present(settings["matrix"]))
    if old.any and new.any:
        where = "and `routing.router.settings` has some too; keep one of the two places"
        scope.found.error(old.any, f"`groups` and `matrix` of the top level are the older form, {where}")
    if old.groups and old.matrix:
        message = "config cannot use both 'groups' and 'matrix'; remove one of them"
        scope.found.error(old.matrix, message)
    use = values["use"]
    if router is None:
        return old
    if use not in (None, "group", "matrix"):
        scope.found.error(_at(router, "use"), f'unknown router "{use}" (valid: group, matrix)')
    written = old if old.any else new
    if use == "matrix" and not written.matrix:
        scope.found.error(_at(router, "use"), "says matrix, but the file has no `matrix`; make them agree")
    if use == "group" and old.matrix:
        scope.found.error(_at(router, "use"), "says group, but the file has a `matrix`; make them agree")
    return old if old.any else _used(new, use, scope)


def _used(new: _Written, use: str | None, scope: Scope) -> _Written:
    """Return which of groups and matrix in `routing.router.settings` is used: groups, unless `use` is matrix."""
    if use == "matrix":
        return _Written(None, new.matrix)
    if new.matrix:
        scope.found.warn(new.matrix, "is not used, since `routing.router.use` is not matrix")
    return _Written(new.groups, None)


def _priority(scheduler: Node | None, known: Known, scope: Scope) -> dict[str, int]:
    found = scope.found
    values = _values(scheduler, SCHEDULER, scope)
    if scheduler is not None and values["use"] != "fifo":
        found.error(_at(scheduler, "use"), f'unknown scheduler "{values["use"]}" (valid: fifo)')
    fifo = _values(_values(values["settings"], SCHEDULER_SETTINGS, scope)["fifo"], FIFO, scope)
    section = fifo["priority"]
    if section is not None and not section.is_empty and not isinstance(section, MapNode):
        found.error(section, f"must be a mapping of models to whole numbers, not {section.summary}")
    priority = {}
    for name, node in section.entries.items() if isinstance(section, MapNode) else ():
        if name in known.names:
            priority[known.names[name]] = _PRIORITY.read(scope.expand(node), found)
        else:
            found.error(node, known.unknown(name))
    return priority


def _present(node: Node | None) -> Node | None:
    """Return a section, or None if it is empty."""
    return None if node is None or node.is_empty else node


def _at(section: Node, key: str) -> Node:
    """Return the node of `key`, or else the section, for a message about it."""
    return section.entries.get(key, section) if isinstance(section, MapNode) else section


def _values(section: Node | None, table: tuple[Key, ...], scope: Scope) -> dict[str, Any]:
    """Return the values of a section by attribute; the defaults if there is no section."""
    if section is not None and not section.is_empty and not isinstance(section, MapNode):
        keys = ", ".join(f"`{key.name}`" for key in table)
        scope.found.error(section, f"must be a mapping with {keys}, not {section.summary}")
    mapping = section if isinstance(section, MapNode) else MapNode(0, None, None)
    return read_keys(mapping, table, scope.expand, scope.found)

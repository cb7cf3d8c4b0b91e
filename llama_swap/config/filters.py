"""Reads `filters` of a model or a peer: which parameters are removed from requests, and which are set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from llama_swap.config.fields import Key, read_keys
from llama_swap.config.kinds import Section
from llama_swap.config.macros import Scope
from llama_swap.config.model import IF_ABSENT, Filters
from llama_swap.config.names import is_name
from llama_swap.config.tree import ListNode, MapNode, Node, Scalar
from llama_swap.config.values import plain_value

_FILTERS: Final = (
    Key("stripParams", Section({"type": ["string", "array", "null"]}), "Parameters that are taken out."),
    Key("strip_params", Section({"type": ["string", "array", "null"]}), "The older name of stripParams."),
    Key("setParams", Section({"type": ["object", "null"]}), "Parameters that are put in, by their path."),
    Key("setParamsByID", Section({"type": ["object", "null"]}), "The same for other names, which become aliases."),
)
PROTECTED: Final = "model"


def read_filters(section: Node | None, scope: Scope) -> Filters | None:
    """Return the filters of a model or a peer; None if it has none."""
    if section is None or section.is_empty:
        return None
    if not isinstance(section, MapNode):
        scope.found.error(section, f"must be a mapping with `stripParams` or `setParams`, not {section.summary}")
        return None
    values = read_keys(section, _FILTERS, scope.expand, scope.found)
    strip = [name for key in _FILTERS[:2] for name in _stripped(section.entries.get(key.name), scope)]
    by_id = _mapping(values["set_params_by_id"], scope)
    return Filters(
        strip_params=tuple(dict.fromkeys(strip)),
        set_params=_params(values["set_params"], scope),
        set_params_by_id={name: _params(node, scope) for name, node in by_id.items()},
    )


def _stripped(node: Node | None, scope: Scope) -> list[str]:
    """Return the names in a list, or in text separated by commas."""
    if node is None or node.is_empty:
        return []
    node = scope.expand(node)
    items = node.items if isinstance(node, ListNode) else [node]
    names = [name.strip() for item in items if isinstance(item, Scalar) for name in item.text.split(",")]
    if isinstance(node, MapNode) or not all(isinstance(item, Scalar) for item in items):
        scope.found.error(node, f"must be names with commas between them, not {node.summary}")
    if any(_is_protected(name) for name in names):
        scope.found.warn(node, "`model` says who is asked, and stays")
    return [name for name in names if name and not _is_protected(name)]


def _is_protected(path: str) -> bool:
    return path.partition(".")[0] == PROTECTED


def _params(node: Node | None, scope: Scope) -> Mapping[str, Any]:
    if node is None or node.is_empty:
        return {}
    if not isinstance(node, MapNode):
        scope.found.error(node, f"must be a mapping of parameters to values, not {node.summary}")
        return {}
    params = {}
    # sorted, so that a path into an object follows the object itself
    for written, value in sorted(node.entries.items(), key=lambda entry: entry[0].removesuffix(IF_ABSENT)):
        path = written.removesuffix(IF_ABSENT)
        if _is_protected(path):
            scope.found.warn(value, "`model` says who is asked, and stays; see useModelName")
        elif written == IF_ABSENT:
            scope.found.warn(value, "ignored, since there is no name before the `?`")
        elif written != path and path in node.entries:
            scope.found.warn(value, f"ignored, since {path} is set in any case")
        else:
            params[written] = plain_value(scope.expand(value))
    return params


def _mapping(node: Node | None, scope: Scope) -> dict[str, Node]:
    """Return the entries of a mapping with the macros in its keys expanded."""
    if node is None or node.is_empty:
        return {}
    if not isinstance(node, MapNode):
        scope.found.error(node, f"must be a mapping of names to parameters, not {node.summary}")
        return {}
    entries: dict[str, Node] = {}
    for written, value in node.entries.items():
        name = scope.text(Scalar(value.line, node, written, written)).text
        if not is_name(name):
            scope.found.error(value, "must be a name that requests can use, not empty")
        elif name in entries:
            scope.found.error(value, f"duplicate name {name!r}")
        else:
            entries[name] = value
    return entries

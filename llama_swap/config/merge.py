"""Merges several files: mappings and lists are joined; two different values for one key are an error.

Nodes keep the place where they were written, so that messages name the right file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Final

from llama_swap.config.tree import Findings, ListNode, MapNode, Node, Scalar

NAMES: Final = frozenset(
    {
        "models",
        "groups",
        "profiles",
        "selectors",
        "peers",
        "matrix",
        "routing.router.settings.groups",
        "routing.router.settings.matrix",
    }
)
"""Sections whose keys are names; an entry must not be split among files."""


def merge(roots: Sequence[MapNode], found: Findings) -> MapNode:
    """Return the root of all files; contradictions between them go to `found`."""
    return reduce(lambda first, second: _merged_maps(first, second, found), roots)


def _merged(first: Node, second: Node, found: Findings) -> Node:
    if second.is_null:
        return first
    if first.is_null:
        return second
    if isinstance(first, MapNode) and isinstance(second, MapNode):
        return _merged_maps(first, second, found)
    if isinstance(first, ListNode) and isinstance(second, ListNode):
        return ListNode(first.line, first.parent, first.key, [*first.items, *second.items])
    if not (isinstance(first, Scalar) and isinstance(second, Scalar) and first.text == second.text):
        found.error(second, f"has another value in {first.file}:{first.line}; remove one")
    return first


def _merged_maps(first: MapNode, second: MapNode, found: Findings) -> MapNode:
    entries = dict(first.entries)
    for name, node in second.entries.items():
        if name not in entries:
            entries[name] = node
        elif second.path in NAMES:
            first_one = entries[name]
            found.error(node, f"defined already, in {first_one.file}:{first_one.line}; remove or rename one")
        else:
            entries[name] = _merged(entries[name], node, found)
    return MapNode(first.line, first.parent, first.key, entries, origin=first.origin)

"""Names: which a file may give, and how lists of them and sections by name are read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen

from llama_swap.config.kinds import Schema, Several
from llama_swap.config.masking import masked_text
from llama_swap.config.tree import Findings, ListNode, MapNode, Node, Scalar
from llama_swap.http.syntax import TOKEN

_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TOKEN = re.compile(TOKEN)


@frozen
class NameList(Several):
    """A list of names, each as typed."""

    default: tuple[str, ...] = ()

    def read(self, node: Node, found: Findings) -> tuple[str, ...]:
        return tuple(scalar.text for scalar in read_names(node, found))

    def schema(self) -> Schema:
        return {"type": ["array", "null"], "items": {"type": ["string", "number", "boolean", "null"]}}


@frozen
class Headers(NameList):
    """A list of header names; of those that differ only in case, the first is kept."""

    def read(self, node: Node, found: Findings) -> tuple[str, ...]:
        names: dict[str, str] = {}
        for name in read_names(node, found):
            if _TOKEN.fullmatch(name.text.strip()):
                names.setdefault(name.text.strip().lower(), name.text.strip())
            else:
                found.error(name, f"must be the name of a header, such as X-Session-ID, not {name.summary}")
        return tuple(names.values())


def read_names(node: Node, found: Findings) -> list[Scalar]:
    """Return the valid names of a list as nodes; the others are reported."""
    if not isinstance(node, ListNode):
        found.error(node, f"must be a list of names, not {node.summary}{_as_list(node)}")
        return []
    names = []
    for item in node.items:
        if not isinstance(item, Scalar):
            quoted = "; quote a name that contains ': '" if isinstance(item, MapNode) else ""
            found.error(item, f"must be a name, not {item.summary}{quoted}")
        elif not item.text.strip():
            found.warn(item, "is empty, and left out")
        elif not is_name(item.text):
            found.error(item, "must be a name without line breaks or other control characters")
        else:
            names.append(item)
    return names


def _as_list(node: Scalar | MapNode) -> str:
    """Return how to write a list instead, if that can be told from what stands there."""
    if isinstance(node, MapNode):
        return ""
    if node.text.startswith("-"):
        return "; write a blank behind each -"
    text = masked_text(node.text)
    return f"; write `['{text}']`" if text.startswith("*") else f"; write `[{text}]`"


def is_name(text: str) -> bool:
    """Whether `text` can name a model, also in log lines and headers.

    So it has no control characters, and no lone surrogates, which JSON can spell, but UTF-8 cannot encode.
    """
    return bool(text.strip()) and not _NOT_IN_NAMES.search(text)


def named_settings(section: Node | None, kind: str, needs: str, found: Findings) -> Iterator[tuple[str, MapNode]]:
    """Yield the valid entries of a section that maps names to settings; report the others, which are no `kind`."""
    if section is None or section.is_empty:
        return
    if not isinstance(section, MapNode):
        found.error(section, f"must be a mapping of names to their settings, not {section.summary}")
        return
    for name, node in section.entries.items():
        if node.is_null:
            found.warn(node, f"says nothing, and is left out; write {needs}")
        elif not isinstance(node, MapNode):
            found.error(node, f"must be a mapping with {needs}, not {node.summary}")
        elif not is_name(name):
            found.error(node, f"a {kind}'s name must not be empty or hold control characters")
        else:
            yield name, node

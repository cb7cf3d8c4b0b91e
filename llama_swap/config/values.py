"""Kinds of values that are lists of words or patterns, or arbitrary YAML.  See `llama_swap.config.kinds`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from llama_swap.config.kinds import Plain, Schema, Several
from llama_swap.config.patterns import compiled
from llama_swap.config.quantities import integer
from llama_swap.config.tree import NULLS, Findings, ListNode, MapNode, Node, Scalar

_FLOAT = re.compile(r"[-+]?(?!0[0-9]+$)(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?")
_WORDS: Final[Mapping[str, bool]] = {"true": True, "false": False}


@frozen
class Words(Several):
    """A list of words from a fixed set; a single word is a list of one."""

    options: tuple[str, ...]
    default: tuple[str, ...] = ()

    def read(self, node: Node, found: Findings) -> tuple[str, ...]:
        items = node.items if isinstance(node, ListNode) else [node]
        for item in items:
            if not isinstance(item, Scalar) or item.text not in self.options:
                found.error(item, f"must be one of {', '.join(self.options)}, not {item.summary}")
                return self.default
        return tuple(dict.fromkeys(item.text for item in items if isinstance(item, Scalar)))

    def schema(self) -> Schema:
        return {"type": ["array", "null"], "items": {"enum": list(self.options)}}


@frozen
class Logs(Plain):
    """Whose log lines are printed: `proxy`, `upstream`, `both` or `none`, or several words separated by commas.

    Newer releases of the original llama-swap have `http` for the access log, which is part of `proxy` here.
    """

    default: str = "proxy"

    def read(self, node: Node, found: Findings) -> str:
        text = node.text.strip().lower() if isinstance(node, Scalar) else ""
        words = {word.strip() for word in text.split(",")}
        if text in {"both", "none"}:
            return text
        if not words <= {"proxy", "upstream", "http"}:
            refusal = "logToStdout must be one of: proxy, upstream, both, none"
            found.error(node, f"{refusal}, not {node.summary}")
            return self.default
        if words == {"upstream"}:
            return "upstream"
        return "both" if "upstream" in words else "proxy"

    def schema(self) -> Schema:
        word = "(proxy|upstream|http)"
        return {"type": ["string", "null"], "pattern": rf"^(both|none|{word}( *, *{word})*)$|\$\{{"}


@frozen
class Patterns(Several):
    """A list of regular expressions in Go's syntax; an empty one means the default."""

    default: tuple[str, ...]

    def read(self, node: Node, found: Findings) -> tuple[str, ...]:
        if not isinstance(node, ListNode):
            found.error(node, f"must be a list of regular expressions, not {node.summary}")
            return self.default
        patterns = []
        for item in node.items:
            if not isinstance(item, Scalar):
                found.error(item, f"must be a regular expression, not {item.summary}")
                continue
            try:
                compiled(item.text)
            except ValueError as error:
                found.error(item, f"invalid regular expression {item.summary}: {error}")
            patterns.append(item.text)
        return tuple(patterns) or self.default

    def schema(self) -> Schema:
        return {"type": ["array", "null"], "items": {"type": "string"}}


@frozen
class Values(Plain):
    """A mapping to arbitrary values, with the types that YAML 1.2 gives them; `010` is text, as in `integer`."""

    default: Mapping[str, Any] = field(factory=dict)

    def read(self, node: Node, found: Findings) -> Mapping[str, Any]:
        if not isinstance(node, MapNode):
            found.error(node, f"must be a mapping, not {node.summary}")
            return self.default
        return {name: plain_value(value) for name, value in node.entries.items()}

    def show(self, value: Mapping[str, Any]) -> dict[str, Any]:
        return dict(value)

    def schema(self) -> Schema:
        return {"type": ["object", "null"]}


def plain_value(node: Node) -> Any:
    """Return a node as values that JSON can represent."""
    if isinstance(node, MapNode):
        return {name: plain_value(value) for name, value in node.entries.items()}
    if isinstance(node, ListNode):
        return [plain_value(item) for item in node.items]
    return _typed(node.text) if node.plain else node.text


def _typed(text: str) -> str | float | bool | None:
    if text in NULLS:
        return None
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if (number := integer(text)) is not None:
        return number
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text

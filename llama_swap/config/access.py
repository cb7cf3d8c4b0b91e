"""Kinds of values that say who may come in."""

from __future__ import annotations

import re

from attrs import frozen

from llama_swap.config.kinds import Schema
from llama_swap.config.masking import MASK
from llama_swap.config.tree import Findings, ListNode, Node, Scalar

_SPACE = re.compile(r"[\s\x00-\x1f\x7f]")


@frozen
class Secrets:
    """A list of keys, which no message and no rendering shows."""

    default: tuple[str, ...] = ()

    def read(self, node: Node, found: Findings) -> tuple[str, ...]:
        if not isinstance(node, ListNode):
            found.error(node, "must be a list of keys, such as `- ${env.LLAMA_SWAP_KEY}`")
            return self.default
        for item in node.items:
            if wrong := _wrong_key(item):
                found.error(item, wrong)
        return tuple(item.text for item in node.items if isinstance(item, Scalar))

    def show(self, value: tuple[str, ...]) -> list[str]:
        return [MASK for _ in value]

    def schema(self) -> Schema:
        return {"type": ["array", "null"], "items": {"type": ["string", "number"], "pattern": r"^\S+$"}}


def _wrong_key(item: Node) -> str | None:
    """Return what is wrong with a key, if anything."""
    if not isinstance(item, Scalar):
        return f"must be a key, not {item.summary}"
    if item.is_null or not item.text:
        return "empty api key found in apiKeys; remove it"
    if _SPACE.search(item.text):
        return "an api key cannot contain spaces or control characters"
    if item.text == MASK:
        return f"{MASK} stands where `llama-swap check` does not show a key; write the key itself"
    return None

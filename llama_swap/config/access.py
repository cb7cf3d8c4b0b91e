"""Kinds of values that control access: API keys, origins and hosts.  See `llama_swap.config.kinds`."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import frozen

from llama_swap.config.kinds import Schema, Several
from llama_swap.config.masking import MASK
from llama_swap.config.names import read_names
from llama_swap.config.sections import CorsConfig
from llama_swap.config.tree import Findings, ListNode, Node, Scalar
from llama_swap.http.syntax import host_named, origin_named

_SPACE = re.compile(r"[\s\x00-\x1f\x7f]")


@frozen
class Secrets:
    """A list of API keys, which neither messages nor the rendered configuration show."""

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


@frozen
class Secret:
    """One API key, or none; masked as in `Secrets`."""

    default: str | None = None

    def read(self, node: Node, found: Findings) -> str | None:
        if wrong := _wrong_key(node):
            found.error(node, wrong)
            return self.default
        return node.text if isinstance(node, Scalar) else self.default

    def show(self, value: str | None) -> str | None:
        return MASK if value else None

    def schema(self) -> Schema:
        return {"type": ["string", "null"], "pattern": r"^\S+$"}


def _wrong_key(item: Node) -> str | None:
    """Return what is wrong with an API key, if anything."""
    if not isinstance(item, Scalar):
        return f"must be a key, not {item.summary}"
    if item.is_null or not item.text:
        return "empty api key found in apiKeys; remove it"
    if _SPACE.search(item.text):
        return "an api key cannot contain spaces or control characters"
    if item.text == MASK:
        return f"{MASK} stands where `llama-swap check` does not show a key; write the key itself"
    return None


def judge_keys(written: Node, expanded: Node, found: Findings) -> None:
    """Refuse `apiKeys` that become null when macros and variables are filled in: that would open the proxy to all."""
    if expanded.is_null and isinstance(written, Scalar) and (written.is_filled or not written.is_null):
        found.error(written, "nothing is left of it once it is filled in; write a list of keys, or leave it out")


@frozen
class Origins(Several):
    """A list of web origins, normalized as browsers send them: in lower case, without the default port."""

    default: tuple[str, ...] = ()

    def read(self, node: Node, found: Findings) -> tuple[str, ...]:
        return _read(node, found, _origin, "the origin of a page, such as https://chat.example")

    def schema(self) -> Schema:
        return _list_schema(r"^\*$|://|\$\{")


@frozen
class Hosts(Several):
    """A list of host names and addresses, without ports."""

    default: tuple[str, ...] = ()

    def read(self, node: Node, found: Findings) -> tuple[str, ...]:
        return _read(node, found, _host, "the name of a host, such as gpu.example")

    def schema(self) -> Schema:
        return _list_schema(r"^[^/]+$")


def judge_cors(cors: CorsConfig, node: Node, found: Findings) -> None:
    """Report what is unsafe in `security.cors`; `node` is the section `security`."""
    if "*" not in cors.allowed_origins:
        return
    for name, value in (
        ("allowCredentials", cors.allow_credentials),
        ("allowPrivateNetwork", cors.allow_private_network),
    ):
        if value:
            found.error(node, f"cors.allowedOrigins must list the origins, instead of `*`, if {name} is true")
    found.warn(
        node,
        "cors.allowedOrigins has `*`: every page on the web may use, stop and watch the models of those who visit it",
    )


def _read(node: Node, found: Findings, normal: Callable[[str], str | None], wanted: str) -> tuple[str, ...]:
    values = []
    for item in read_names(node, found):
        value = "*" if item.text == "*" else normal(item.text)
        if value is None:
            found.error(item, f"must be {wanted}, or `*` for all, not {item.summary}")
        else:
            values.append(value)
    return tuple(values)


def _list_schema(pattern: str) -> Schema:
    return {"type": ["array", "null"], "items": {"type": "string", "pattern": pattern}}


def _origin(text: str) -> str | None:
    origin = origin_named(text.removesuffix("/"))
    if origin is None:
        return None
    default = {"http": ":80", "https": ":443"}.get(origin.scheme, "")
    return f"{origin.scheme}://{origin.authority.removesuffix(default)}"


def _host(text: str) -> str | None:
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    return host_named(text)

"""Kinds of values: how each is read from the file, rendered as YAML, and described in the JSON Schema.

`read` gets a node that is not null, with macros expanded.  It returns the value, or reports an error and returns the
default, so that one run finds all errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from attrs import field, frozen

from llama_swap.config.tree import Findings, ListNode, Node, Scalar

Schema = dict[str, Any]

MACRO: Final = {"type": "string", "pattern": r"\$\{.+\}"}
"""The schema of a macro, which may stand for a number or a flag."""

_VARIABLE = re.compile(r"[^=\0]+")
_BLANK = re.compile(r"\s")
_PATH = re.compile(r"[!-~]*")
_ORIGIN = re.compile(r"https?://[^/]*")


class Kind(Protocol):
    """How one key is read, shown and described."""

    @property
    def default(self) -> Any:
        """The value if the key is absent or null."""

    def read(self, node: Node, found: Findings, /) -> Any:
        """Return the value of `node`; if it is not valid, report it to `found` and return the default."""

    def show(self, value: Any) -> Any:
        """Return `value` as YAML would write it."""

    def schema(self) -> Schema:
        """Return the JSON Schema of the values in the file."""


class Plain:
    """Rendered as it is: what YAML can write."""

    def show(self, value: Any) -> Any:
        return value


class Several:
    """Rendered as a list of texts."""

    def show(self, value: tuple[str, ...]) -> list[str]:
        return list(value)


@frozen
class Text(Plain):
    """Any text; numbers and words such as `no` are kept as typed."""

    default: str | None = ""

    def read(self, node: Node, found: Findings) -> str | None:
        if not isinstance(node, Scalar):
            found.error(node, f"must be text, not {node.summary}")
            return self.default
        return node.text or self.default

    def schema(self) -> Schema:
        return {"type": ["string", "number", "boolean", "null"]}


@frozen
class Flag(Plain):
    """`true` or `false`, in any spelling of YAML 1.1, such as `yes` or `off`."""

    default: bool | None = False

    def read(self, node: Node, found: Findings) -> bool | None:
        text = node.text.lower() if isinstance(node, Scalar) else None
        if text not in {"true", "yes", "on", "y", "false", "no", "off", "n"}:
            found.error(node, f"must be true or false, not {node.summary}")
            return self.default
        return text in {"true", "yes", "on", "y"}

    def schema(self) -> Schema:
        return {"anyOf": [{"type": ["boolean", "null"]}, MACRO]}


@frozen
class Choice(Plain):
    """One of several words."""

    words: tuple[str, ...]
    default: str | None = None
    is_lenient: bool = False
    """Other words are taken as the default, with a warning."""

    def read(self, node: Node, found: Findings) -> str | None:
        text = node.text.strip().lower() if isinstance(node, Scalar) else None
        if text is not None and text in (*self.words, self.default):
            return text
        message = f"must be one of {', '.join(self.words)}, not {node.summary}"
        if self.is_lenient:
            found.warn(node, f"{message}; taken as {self.default or 'absent'}")
        else:
            found.error(node, message)
        return self.default

    def schema(self) -> Schema:
        return {"anyOf": [{"enum": list(dict.fromkeys((*self.words, self.default, None)))}, MACRO]}


@frozen
class Assignments:
    """Environment variables as a list of `NAME=value`."""

    default: Mapping[str, str] = field(factory=dict)

    def read(self, node: Node, found: Findings) -> Mapping[str, str]:
        if not isinstance(node, ListNode):
            found.error(node, f"must be a list with entries such as `- NAME=value`, not {node.summary}")
            return self.default
        variables: dict[str, str] = {}
        for item in node.items:
            name, equals, value = item.text.partition("=") if isinstance(item, Scalar) else ("", "", "")
            if isinstance(item, Scalar) and not equals:
                found.warn(item, f"sets nothing: write `NAME=value`, not {item.summary}")
                continue
            if not equals or not _VARIABLE.fullmatch(name) or "\0" in value:
                found.error(item, f"must be `NAME=value`, not {item.summary}")
                continue
            if _BLANK.search(name):
                found.warn(item, f"the name {name!r} has a blank in it, so no program will find it; write `NAME=value`")
            if name in variables:
                found.warn(item, f"{name} is set twice; the last value counts")
            variables[name] = value
        return variables

    def show(self, value: Mapping[str, str]) -> list[str]:
        return [f"{name}={text}" for name, text in value.items()]

    def schema(self) -> Schema:
        return {"type": ["array", "null"], "items": {"type": "string", "pattern": "^[^=]+="}}


@frozen
class CheckPath:
    """The path of a health check, or `none`, which becomes None.  An empty one means `/`."""

    default: str | None = "/health"

    def read(self, node: Node, found: Findings) -> str | None:
        text = node.text.strip() if isinstance(node, Scalar) else None
        if text is None or not _PATH.fullmatch(text):
            found.error(node, f"must be a path such as /health, or `none`, not {node.summary}")
            return self.default
        if text.lower() == "none":
            return None
        path = _ORIGIN.sub("", text)
        path = path if path.startswith("/") else f"/{path}"
        if text not in {path, ""}:
            found.warn(node, f"must be a path, which begins with /, and is below `proxy`; taken as {path}")
        return path

    def show(self, value: str | None) -> str:
        return value or "none"

    def schema(self) -> Schema:
        return {"type": ["string", "null"], "pattern": r"^/|^none$|\$\{"}


@frozen
class FilePath(Plain):
    """The path of a file; whether the file can be used is not checked here."""

    default: str | None = None

    def read(self, node: Node, found: Findings) -> str | None:
        text = node.text.strip() if isinstance(node, Scalar) else ""
        if not text or "\0" in text:
            found.error(node, f"must be the path of a file, not {node.summary}")
            return self.default
        return text

    def schema(self) -> Schema:
        return {"type": ["string", "null"], "minLength": 1}


@frozen
class ListenAddress(Plain):
    """An address to listen on, or an endpoint string of Twisted, which is checked when the port is opened.

    Wrong values are warnings only: the original llama-swap ignores the key, so files that work there must work here.
    """

    default: str | None = None

    def read(self, node: Node, found: Findings) -> str | None:
        text = node.text.strip() if isinstance(node, Scalar) else ""
        if ":" in text:
            return text
        port = text if text.isdecimal() else "8080"
        taken = f"127.0.0.1:{port}" if text.isdecimal() else self.default
        example = f"127.0.0.1:{port} for this machine only or :{port} for all interfaces"
        found.warn(node, f"must be HOST:PORT, such as {example}, not {node.summary}; taken as {taken or 'absent'}")
        return taken

    def schema(self) -> Schema:
        return {"type": ["string", "null"], "pattern": r":|\$\{"}


@frozen
class Section(Plain):
    """A part of the file that other code reads; its value is the node, or None.  `form` is its JSON Schema."""

    form: Schema
    default: None = None

    def read(self, node: Node, _found: Findings) -> Node:
        return node

    def schema(self) -> Schema:
        return self.form

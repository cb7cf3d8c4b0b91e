"""Composes `tree` nodes from YAML text.

The events come from PyYAML's parser; its composer is not used, because it refuses repeated anchors, accepts duplicate
keys silently, and recurses in C as deep as a file nests.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from llama_swap.config.macros import expand_environment, mark_environment, unmarked
from llama_swap.config.tree import Findings, ListNode, MapNode, Node, Scalar
from llama_swap.errors import ConfigError

MAX_NODES: Final = 100_000
"""The limit with aliases and merge keys expanded.  1,000 models have about 20,000 nodes, a merge bomb millions."""
MAX_DEPTH: Final = 50
"""The limit for nested lists and mappings; real files have about 6 levels."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CORE = "tag:yaml.org,2002:"
_TYPED = frozenset(_CORE + name for name in ("int", "float", "bool", "null", "merge"))
_TAGS = _TYPED | {None, "!", f"{_CORE}str", f"{_CORE}map", f"{_CORE}seq"}
_HALF = re.compile(r"[\ud800-\udfff]")  # a lone surrogate: YAML can escape it, UTF-8 cannot encode it
_LAYOUT = "check the indentation, and that quotes and brackets are closed"
_BRACKETS = "; close the bracket, and quote values such as ${name} within brackets"
_COLON = "; write `key: value`, with a blank behind the colon, or indent this line, if it is part of the value above it"
_INDENTED = "; indent this key as far as the one above it, or quote the value above, if it is to go on here"
_COLON_ABOVE = "; write a blank behind the colon in the line above"
_COLON_MISSING = "; write a colon behind the name in the line above"
_LONE_KEY = re.compile(r"\s+[\w-]+\s*")
_LONE_NAME = re.compile(r"(\s*)[\w./-]+\s*")
_NO_BLANK = re.compile(r"\s*[\w-]+:[^\s/]")
_ESCAPE = "write a \\ in single quotes, or without quotes"
_HINTS = {
    "mapping values are not allowed": "quote a value that contains ': ', or write it as a block with `|`",
    "cannot start any token": "indent with spaces, not tabs, and quote values that begin with @, ` or %",
    "hex": _ESCAPE,
    "unknown escape character": _ESCAPE,
    "alphabetic or numeric character": "quote a value that begins with * or &",
    "tab character": "indent with spaces, not tabs",
    "sequence entries are not allowed": "begin the list below its key, or quote a value that begins with -",
    "mapping keys are not allowed": "quote a value that begins with ?",
    "comment or line break": "begin the text of a block in the line below its | or >, or quote a value with these",
    "found unexpected ':'": "write a blank behind a colon, or quote a name that ends with one",
    "did not find expected": _LAYOUT,
    "could not find expected": _LAYOUT,
    "unexpected end of stream": "a quote is not closed",
}
"""What to do about a syntax error, by a part of the parser's message; the first that fits counts."""


def compose(text: str, environ: Mapping[str, str], found: Findings) -> Node | None:
    """Return the root of the first document, or None if there is none.

    `${env.NAME}` is replaced from `environ`.  Duplicate keys, foreign tags and unset variables go to `found`.

    @raise ConfigError: the text cannot be read to its end, since it is not YAML or exceeds a limit.
    """
    text = mark_environment(text)
    try:
        return _Composer(text, environ, found).document()
    except yaml.MarkedYAMLError as error:
        raise _broken(error, text, found) from None
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise found.refusal(f"not valid YAML: {error.reason}", line=line) from None


def _broken(error: Any, text: str, found: Findings) -> ConfigError:
    """Return the parser's error with a hint, at the line where an unclosed bracket or quote was opened, if any."""
    noticed, began = error.problem_mark or error.context_mark, error.context_mark
    problem = str(error.problem or error.context)
    hint = next((f"; {hint}" for known, hint in _HINTS.items() if known in problem), "")
    if began and error.context and ("flow" in error.context or "quoted" in error.context):
        problem, noticed = f"{error.context}: {problem} on line {noticed.line + 1}", began
        hint = _BRACKETS if "flow" in error.context else hint
    elif began and "simple key" in str(error.context):
        noticed, hint = began, _COLON
    elif "mapping values" in problem:
        above, line = ["", *text.splitlines()][noticed.line : noticed.line + 2]
        if _LONE_KEY.fullmatch(line[: noticed.column]):
            name = _LONE_NAME.fullmatch(above)
            missing = _COLON_MISSING if name and line.startswith(f"{name[1]} ") else _INDENTED
            hint = _COLON_ABOVE if _NO_BLANK.match(above) else missing
    return found.refusal(f"not valid YAML: {problem}{hint}", line=noticed.line + 1 if noticed else None)


class _Composer:
    """Reads one document, event by event."""

    def __init__(self, text: str, environ: Mapping[str, str], found: Findings) -> None:
        self._events: Any = yaml.parse(text, Loader=_Loader)
        self._environ = environ
        self._found = found
        self._anchors: dict[str, Node] = {}
        self._count = 0
        self._depth = 0

    def document(self) -> Node | None:
        """Return the first document."""
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                root = self._node(next(self._events), None, None)
                next(self._events)
                if isinstance(next(self._events), yaml.DocumentStartEvent):
                    self._found.warn(root, "only the first document is read; a line `---` begins another one")
                return root
        return None

    def _node(self, event: Any, parent: Node | None, key: str | int | None, line: int | None = None) -> Node:
        start = event.start_mark.line + 1
        line = start if line is None else line
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, parent, key, line)
        self._add(1, line, parent)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            plain = event.tag in _TYPED or (event.tag is None and not event.style)
            first_line = start + 1 if event.style == "|" else None
            node = Scalar(line, parent, key, event.value, plain, first_line)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = ListNode(line, parent, key)
        else:
            node = MapNode(line, parent, key, origin=self._found.filename if parent is None else None)
        if event.tag not in _TAGS:  # such as !!python/object, which would run code
            name = event.tag.replace(_CORE, "!!")
            self._found.error(node, f"the YAML tag {name} is not allowed here; write a plain value")
        if event.anchor is not None:
            self._anchors[event.anchor] = node  # a later anchor of this name wins, as YAML 1.2 says
        self._fill(node)
        return node

    def _fill(self, node: Node) -> None:
        if isinstance(node, Scalar):
            if not node.text.isascii() and _HALF.search(node.text):
                self._found.error(node, "an escape such as \\ud800 is half of a character; write the character itself")
            written = node.text
            node.text = expand_environment(node, self._environ, self._found)
            node.is_filled = node.text != written
            return
        if self._depth >= MAX_DEPTH:
            raise self._found.refusal(f"nested deeper than {MAX_DEPTH} levels", line=node.line)
        self._depth += 1
        before = self._count
        if isinstance(node, ListNode):
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                node.items.append(self._node(event, node, len(node.items)))
        else:
            self._entries(node)
        node.size = self._count - before + 1
        self._depth -= 1

    def _entries(self, node: MapNode) -> None:
        lines: dict[str, int] = {}
        merged: list[MapNode] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            line = event.start_mark.line + 1
            key = self._key(event, node)
            value = self._node(next(self._events), node, key.text, line)
            if key.text in lines:
                first = lines[key.text]
                self._found.error(key, f"duplicate key, first defined on line {first}; remove or rename one")
            elif key.plain and key.text == "<<":
                merged += self._merge_sources(value)
            else:
                node.entries[key.text] = value
            lines.setdefault(key.text, line)
        for source in merged:
            self._add(source.size, source.line, node)
            for name, value in source.entries.items():
                node.entries.setdefault(name, value)

    def _key(self, event: Any, parent: MapNode) -> Scalar:
        node = self._node(event, parent, unmarked(getattr(event, "value", "?")))
        if isinstance(node, Scalar):
            node.key = node.text
            return node
        self._found.error(node, f"a key must be a name, not {node.summary}; quote a value that contains {{ or [")
        return Scalar(node.line, parent, "?", "?")

    def _merge_sources(self, value: Node) -> list[MapNode]:
        candidates = value.items if isinstance(value, ListNode) else [value]
        sources = [node for node in candidates if isinstance(node, MapNode)]
        if len(sources) < len(candidates) and not value.is_empty:
            self._found.error(value, "`<<` merges mappings: write `<<: *name` or `<<: [*one, *two]`")
        return sources

    def _alias(self, event: Any, parent: Node | None, key: str | int | None, line: int) -> Node:
        target = self._anchors.get(event.anchor)
        if target is None:
            message = f"*{event.anchor} has no &{event.anchor} above it; quote a value that begins with *"
            raise self._found.refusal(message, line=line)
        if target.size == 0:
            raise self._found.refusal(f"*{event.anchor} stands within its own &{event.anchor}", line=line)
        self._add(target.size, line, parent)
        return target.placed(line, parent, key)

    def _add(self, nodes: int, line: int, at: Node | None) -> None:
        self._count += nodes
        if self._count > MAX_NODES:
            message = f"more than {MAX_NODES:,} values with aliases and merge keys written out"
            raise self._found.refusal(message, line=line, path=at.path if at else "")

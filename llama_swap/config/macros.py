"""Expands `${…}`: environment variables, the user's macros, and those that llama-swap provides.

`${env.NAME}` comes first, in every scalar of the file.  It is marked before YAML is parsed, so that `[${env.NAME}]` is
a list, but replaced afterwards, so that a variable cannot inject YAML.  User macros are expanded where they are
defined: each may use only those above it, so there are no cycles.  `${MODEL_ID}`, `${PORT}` and `${PID}` come last,
because their values differ from model to model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final

from attrs import evolve, field, frozen

from llama_swap.config.quantities import integer
from llama_swap.config.tree import Findings, ListNode, MapNode, Node, Scalar

MAX_TEXT: Final = 128 * 1024
"""The longest text that macros may expand to: what Linux allows for one argument of a command (MAX_ARG_STRLEN)."""

_ENVIRONMENT = re.compile(r"\$\{env\.([A-Za-z_][A-Za-z0-9_]*)\}")
_MARKED = re.compile("\ufdd0([A-Za-z_][A-Za-z0-9_]*)\ufdd1")  # Unicode noncharacters, without meaning in YAML
_MACRO = re.compile(r"\$\{([A-Za-z0-9_-]+)\}")
_UNFIT = re.compile(r"[\n\0\ud800-\udfff]")  # surrogates: bytes that Python could not decode
_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")
_GIVEN = {
    "MODEL_ID": "exists only inside a model",
    "PORT": "exists only inside a model whose `cmd` uses it",
    "PID": "exists only in `cmdStop`",
}


def mark_environment(text: str) -> str:
    """Return YAML with each `${env.NAME}` marked in a way that has no meaning in YAML, unlike its braces."""
    return _ENVIRONMENT.sub("\ufdd0\\1\ufdd1", text)


def unmarked(text: str) -> str:
    """Return `text` with the marks turned back into `${env.NAME}`."""
    return _MARKED.sub(r"${env.\1}", text)


def expand_environment(node: Scalar, environ: Mapping[str, str], found: Findings) -> str:
    """Return the text of `node` with each marked `${env.NAME}` replaced, except in lines that are comments."""
    if "\ufdd0" not in node.text:
        return node.text

    def lookup(name: str) -> str | None:
        value = environ.get(name)
        if value is None:
            problem = f"is not set; set it, or replace ${{env.{name}}}"
        elif _UNFIT.search(value):
            problem = "has a line break, or is not UTF-8: it does not fit here"
        else:
            return value
        found.unknown(node, f"${{env.{name}}}", f"environment variable {name} {problem}")
        return None

    def expanded(line: str) -> str:
        line = line if is_comment(line) else _replace(_MARKED, line, lookup, node, found)
        return unmarked(line)

    return "\n".join(expanded(line) for line in node.text.split("\n"))


def is_comment(line: str) -> bool:
    """Whether a line of a block scalar is a comment of a command; to YAML it is text."""
    return line.lstrip().startswith("#")


@frozen
class Scope:
    """The macros that are defined in a part of the file: at the top level, or in one model."""

    found: Findings
    macros: Mapping[str, Scalar] = field(factory=dict)
    """The user's macros as written."""
    expanded: Mapping[str, Scalar] = field(factory=dict)
    """The same with the macros in them expanded."""
    broken: frozenset[str] = frozenset()
    """Names of macros whose definitions are errors."""
    given: Mapping[str, str] = field(factory=dict)
    """The values of llama-swap's own macros; see `_GIVEN`."""
    leaves_unknown: bool = False
    """Unknown macros are left in place with a warning, instead of an error."""

    def giving(self, **given: str) -> Scope:
        """Return this scope with values for some of llama-swap's own macros."""
        return evolve(self, given={**self.given, **given})

    def leaving_unknown(self) -> Scope:
        """Return this scope for values in which `${…}` may be meant for another program."""
        return evolve(self, leaves_unknown=True)

    def defining(self, section: Node | None) -> Scope:
        """Return this scope with the macros of a `macros` section added.

        A name that is already defined is redefined in place, so that macros below it see the new value.
        """
        if section is None or section.is_empty:
            return self
        if not isinstance(section, MapNode):
            self.found.error(section, f"must be a mapping of names to values, not {section.summary}")
            items = section.items if isinstance(section, ListNode) else []
            meant = {name for item in items if isinstance(item, MapNode) for name in item.entries}
            return evolve(self, broken=self.broken | meant)
        own = {name: macro for name, node in section.entries.items() if (macro := self._macro(name, node))}
        macros = {**self.macros, **own}
        overriding = not own.keys().isdisjoint(self.macros)
        expanded = {} if overriding else dict(self.expanded)
        for name, node in (macros if overriding else own).items():
            expanded[name] = self._with_macros(node, expanded)
        broken = (self.broken | section.entries.keys()) - macros.keys()
        return evolve(self, macros=macros, expanded=expanded, broken=broken)

    def _macro(self, name: str, node: Node) -> Scalar | None:
        """Return the value of a macro, numbers and flags in the spelling that commands expect; None after an error."""
        if not _NAME.fullmatch(name):
            self.found.error(node, "a macro's name has 1 to 63 letters, digits, - and _")
        elif name in _GIVEN:
            self.found.error(node, f"{name} is reserved: its value is given by llama-swap")
        elif not isinstance(node, Scalar):
            self.found.error(node, "a macro must be text, a number or a boolean, not a list or mapping")
        elif f"${{{name}}}" in node.text:
            self.found.error(node, f"the macro {name} refers to itself")
        else:
            return node.saying(_spelled(node.text), plain=True) if node.plain else node
        return None

    def expand(self, node: Node) -> Node:
        """Return `node` with the macros in its values replaced; keys stay as they are."""
        if isinstance(node, Scalar):
            return self.text(node)
        if isinstance(node, ListNode):
            return ListNode(node.line, node.parent, node.key, [self.expand(item) for item in node.items])
        entries = {name: self.expand(value) for name, value in node.entries.items()}
        return MapNode(node.line, node.parent, node.key, entries)

    def text(self, node: Scalar) -> Scalar:
        """Return `node` with every macro expanded; unknown ones are reported."""
        if "${" not in node.text:
            return node
        node = self._with_macros(node, self.expanded)
        return self._filled(node, self._give(node), plain=node.text == "${PORT}")  # a number; the others are text

    def _with_macros(self, node: Scalar, known: Mapping[str, Scalar]) -> Scalar:
        whole = _MACRO.fullmatch(node.text)
        if whole and whole[1] in known:  # the macro's own type counts: null, or text that was quoted
            macro = known[whole[1]]
            return node.saying(macro.text, plain=macro.plain)

        def lookup(name: str) -> str | None:
            return known[name].text if name in known else None

        return self._filled(node, lookup)

    def _filled(self, node: Scalar, lookup: Callable[[str], str | None], *, plain: bool = False) -> Scalar:
        """Return `node` with the macros replaced that `lookup` knows; `plain` is the result if there are any."""
        text = _replace(_MACRO, node.text, lookup, node, self.found)
        return node if text == node.text else node.saying(text, plain=plain)

    def _give(self, node: Scalar) -> Callable[[str], str | None]:
        def lookup(name: str) -> str | None:
            if name in self.broken and name not in self.given:
                self.found.unfilled(f"${{{name}}}")
            elif name not in self.given and self.leaves_unknown:
                self.found.warn(node, f"{self._unknown(name)}. It is passed on as it is")
            elif name not in self.given:
                self.found.unknown(node, f"${{{name}}}", self._unknown(name))
            return self.given.get(name)

        return lookup

    def _unknown(self, name: str) -> str:
        if name in _GIVEN:
            return f"${{{name}}} {_GIVEN[name]}"
        if name in self.macros:
            return f"the macro ${{{name}}} is defined further down; move it above the macro that uses it"
        names = {known.upper(): known for known in (*_GIVEN, *self.macros)}
        close = get_close_matches(name.upper(), names, n=1)
        meant = f"did you mean ${{{names[close[0]]}}}? Otherwise " if close else ""
        remedy = f"define it in `macros`, or write ${{env.{name}}} for an environment variable"
        return f"unknown macro ${{{name}}}; {meant}{remedy}"


def _spelled(text: str) -> str:
    """Return a whole number of YAML in decimal, a flag in lower case, and any other text unchanged."""
    number = integer(text)
    return text.lower() if text in {"True", "TRUE", "False", "FALSE"} else text if number is None else str(number)


def _replace(
    pattern: re.Pattern[str], text: str, lookup: Callable[[str], str | None], node: Scalar, found: Findings
) -> str:
    """Replace each match whose name `lookup` knows; report an error if the result exceeds `MAX_TEXT`."""
    room = MAX_TEXT

    def replacement(match: re.Match[str]) -> str:
        nonlocal room
        value = lookup(match[1]) if room > 0 else None
        if value is None:
            return match[0]
        room -= len(value)
        return value

    result = pattern.sub(replacement, text)
    if room < 0:
        found.error(node, f"macros expand to more than {MAX_TEXT // 1024} KiB here")
        return text
    return result

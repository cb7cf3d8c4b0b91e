"""Tables of keys: what a key of the file is, and how the values of a table are read, shown and described."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher, get_close_matches
from functools import lru_cache
from keyword import iskeyword
from typing import Any, Final

from attrs import field, frozen

from llama_swap.config.kinds import Kind, Schema, Section
from llama_swap.config.tree import Findings, MapNode, Node, Scalar

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MEANT: Final = {
    "address": ("listen",),
    "host": ("listen",),
    "port": ("listen",),
    "readytimeout": ("healthCheckTimeout",),
    "starttimeout": ("healthCheckTimeout",),
    "idletimeout": ("globalTTL", "ttl"),
    "command": ("cmd",),
    "path": ("cmd",),
    "environment": ("env",),
    "url": ("proxy",),
    "health": ("checkEndpoint",),
    "models": ("members", "targets"),
}
"""Other words that people use for keys, in the form of `_plain_name`."""
_WHERE: Final = "to start the server in another directory, write `cmd: env -C DIR …`"
_LIST: Final = "a list of models stands right behind the profile's name, as in `coding: [qwen, llama]`"
_ADVICE: Final = {
    "timeout": ("healthCheckTimeout", "did you mean healthCheckTimeout, or timeouts inside a model?"),
    "cwd": ("cmd", _WHERE),
    "workdir": ("cmd", _WHERE),
    "workingdir": ("cmd", _WHERE),
    "workingdirectory": ("cmd", _WHERE),
    "stripparams": ("filters", "it belongs in `filters`"),
    "setparams": ("filters", "it belongs in `filters`"),
    "setparamsbyid": ("filters", "it belongs in `filters`"),
    "preload": ("on_startup", "it belongs in `on_startup`"),
    "groups": ("router", "it belongs in `router`, in its `settings`"),
    "matrix": ("router", "it belongs in `router`, in its `settings`"),
    "models": ("pins", _LIST),
    "members": ("pins", _LIST),
}
"""Keys that do not exist, but for which there is other advice: a key whose table gets it, and the text."""
_SHORT: Final = 5
"""Words of `_MEANT` up to this length are not matched approximately: the result would mostly be wrong."""
_TINY: Final = 3
"""Words up to this length resemble each other by chance."""
_TAILCAT: Final = "Tailcat is not spoken here"
_LEFT_OUT: Final = {"tailcat": _TAILCAT, "tailcatKey": _TAILCAT}
"""Keys of the original llama-swap for features that do not exist here."""


@frozen(eq=False)
class Key:
    """One key of a section."""

    name: str
    kind: Kind
    doc: str
    attribute: str = field(init=False)
    """The attribute that holds the value in `llama_swap.config.model`: `global_ttl` for `globalTTL`."""

    @attribute.default
    def _attribute(self) -> str:
        name = _CAMEL.sub("_", self.name).lower()
        return f"{name}_" if iskeyword(name) else name


@frozen
class Nested:
    """A mapping with a table of keys of its own; they are attributes of its value, which `make` makes."""

    table: tuple[Key, ...]
    make: Callable[..., Any]
    default: Any = field(init=False)

    @default.default
    def _default(self) -> Any:
        return self.make(**{key.attribute: key.kind.default for key in self.table})

    def read(self, node: Node, found: Findings) -> Any:
        if not isinstance(node, MapNode):
            found.error(node, f"must be a mapping of {', '.join(key.name for key in self.table)}, not {node.summary}")
            return self.default
        return self.make(**read_keys(node, self.table, lambda value: value, found))

    def show(self, value: Any) -> dict[str, Any]:
        return dict(shown(self.table, value))

    def schema(self) -> Schema:
        return section_schema(self.table)


def shown(table: Sequence[Key], values: Any) -> Iterator[tuple[str, Any]]:
    """Yield name and value, as YAML would write it, of each key whose attribute `values` has and is not None."""
    for key in table:
        if hasattr(values, key.attribute) and not isinstance(key.kind, Section):
            value = key.kind.show(getattr(values, key.attribute))
            if value is not None:
                yield key.name, value


def section_schema(table: Sequence[Key], **forms: Schema) -> Schema:
    """Return the JSON Schema of a section; `forms` has those of its subsections."""
    return {
        "type": ["object", "null"],
        "properties": {key.name: {**_property(key), **forms.get(key.name, {})} for key in table},
        "patternProperties": {"^x-|^<<$": {}},
        "additionalProperties": False,
    }


def _property(key: Key) -> Schema:
    default = key.kind.default
    shown = {} if default is None or isinstance(key.kind, Nested) else {"default": key.kind.show(default)}
    return {"description": key.doc, **key.kind.schema(), **shown}


@frozen(eq=False)
class Elsewhere:
    """A table of keys that belong to another place in the file, for suggestions."""

    table: tuple[Key, ...]
    place: str
    is_inside: bool = False
    """Whether that place is inside the section that is read."""


def read_keys(
    section: MapNode,
    table: tuple[Key, ...],
    expand: Callable[[Node], Node],
    found: Findings,
    elsewhere: Elsewhere | None = None,
) -> dict[str, Any]:
    """Return the value of every key of `table` by attribute; unknown keys are warnings.

    A key of kind `Section` gets its node with macros not yet expanded, since a section may define its own.
    `elsewhere` has keys that people put here by mistake.
    """
    values = {key.attribute: _value(section.entries.get(key.name), key, expand, found) for key in table}
    known = {key.name for key in table}
    for name, node in section.entries.items():
        if name not in known and not name.startswith("x-"):
            found.warn(node, _ignored(name, table, elsewhere))
    return values


def _value(node: Node | None, key: Key, expand: Callable[[Node], Node], found: Findings) -> Any:
    if node is not None and not isinstance(key.kind, Section):
        node = expand(node)
    if node is None or node.is_null or (isinstance(node, Scalar) and not found.knows(node.text)):
        return key.kind.default
    return key.kind.read(node, found)


def meant(name: str, table: Sequence[Key]) -> str | None:
    """Return the key of `table` that an unknown name most likely means, if any."""
    plain, names = _plain_name(name), {key.name for key in table}
    believed = {word: key for word, keys in _MEANT.items() for key in keys if key in names}
    if plain in believed:
        return believed[plain]
    known = {word: key for word, key in believed.items() if len(word) > _SHORT}
    known |= {_plain_name(key.name): key.name for key in reversed(table)}  # of two such, the first of the table
    close = get_close_matches(plain, known, n=len(known), cutoff=0.6)
    return next((known[word] for word in close if _is_slip(plain, word, is_key=word not in believed)), None)


def _is_slip(written: str, word: str, *, is_key: bool) -> bool:
    """Whether `written`, which resembles `word`, is most likely a misspelling of it."""
    if _is_mistyped(written, word):
        return True
    if not is_key or min(len(written), len(word)) <= _TINY:
        return False
    letters, others = Counter(written), Counter(word)
    same_letters = max((letters - others).total(), (others - letters).total()) <= 1
    return same_letters or SequenceMatcher(None, word, written).ratio() >= 0.75


def _is_mistyped(written: str, word: str) -> bool:
    """Whether the words have equal length and the same letters, or differ by one missing or additional letter."""
    shorter, longer = sorted((written, word), key=len)
    if len(longer) == len(shorter):
        return set(shorter) == set(longer)
    return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))


@lru_cache(maxsize=1024)  # difflib is slow, and an unknown key in one model is often in all
def _ignored(name: str, table: tuple[Key, ...], elsewhere: Elsewhere | None) -> str:
    """Return the warning for an unknown key, with a suggestion if there is one."""
    if name in _LEFT_OUT:
        return f"not supported here: ignored; {_LEFT_OUT[name]}"
    return f"unknown key: ignored{_suggestion(name, table, elsewhere)}"


def _suggestion(name: str, table: tuple[Key, ...], elsewhere: Elsewhere | None) -> str:
    if name[:1].isspace() and name[0] != " ":
        return "; it begins with a blank that is no plain one: indent it with spaces"
    beside, advice = _ADVICE.get(_plain_name(name), ("", ""))
    if any(key.name == beside for key in table):
        return f"; {advice}"
    here = meant(name, table)
    if elsewhere is not None and _plain_name(name) != _plain_name(here or ""):
        for key in elsewhere.table:
            if _plain_name(key.name) == _plain_name(name):
                return f"; {key.name} belongs {elsewhere.place}"
    if here is not None:
        return f"; did you mean {here}?"
    for key in table:
        if isinstance(key.kind, Nested) and name in (inner.name for inner in key.kind.table):
            return f"; it belongs in `{key.name}`"
    return "; keys that begin with x- are yours to use" if elsewhere is not None and elsewhere.is_inside else ""


def _plain_name(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()

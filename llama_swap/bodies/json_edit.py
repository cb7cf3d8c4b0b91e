"""Removes, adds and changes members of a JSON object; every other byte stays.  Pure.

The text need not be in memory, and is not parsed again: it is enough to know where its members stand.  Only values that
a path leads into are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import define

from llama_swap.bodies.json_outline import Member, Outline
from llama_swap.bodies.json_scan import outline_of
from llama_swap.bodies.spool import Edit, edited
from llama_swap.errors import BadRequest

MOST_INSIDE: Final = 100_000
"""The most members of a value that a path may lead into."""


@define
class _Item:
    """A member or element as it will be."""

    key: str | None
    place: int | None
    """Its index among those in the text; None: it is new."""
    value: bytes | None
    """None: as it is in the text."""


class JsonEdit:
    """An object, or array, that is being changed.

    Paths are sequences of names, with numbers for the elements of arrays.
    """

    def __init__(self, outline: Outline, read: Callable[[int, int], bytes]) -> None:
        """Begin with the text that `outline` describes; `read(start, end)` returns these bytes of it."""
        self._outline = outline
        self._read = read
        self._is_array = read(outline.opening, outline.opening + 1) == b"["
        self._items = [_Item(member.key, place, None) for place, member in enumerate(outline.members)]

    def strip(self, path: Sequence[str]) -> None:
        """Remove what `path` leads to, if it leads anywhere.

        @raise BadRequest: there are too many members to tell.
        """
        self._check()
        key, *rest = path
        if not rest:
            self._items = [item for item in self._items if item.key != key]
            return
        for item in self._items:
            if item.key == key:
                item.value = _stripped(self._value(item), rest)

    def set(self, path: Sequence[str], value: Any) -> None:
        """Set the value that `path` leads to; objects that are missing on the way are created.

        @raise BadRequest: there are too many members to tell.
        """
        self._check()
        key, *rest = path
        for item in reversed(self._items):  # of repeated keys, most parsers take the last
            if item.key == key:
                item.value = _with(self._value(item), rest, value) if rest else _written(value)
                return
        if not self._is_array or key in {"-1", str(len(self._items))}:  # an array can only be appended to
            self._items.append(_Item(key, None, _with(b"{}", rest, value)))

    def has(self, path: Sequence[str]) -> bool:
        """Whether there is anything, `null` included, where `set` would put a value.

        @raise BadRequest: there are too many members to tell.
        """
        self._check()
        key, *rest = path
        item = next((item for item in reversed(self._items) if item.key == key), None)
        if item is None or not rest:
            return item is not None
        value = self._value(item)
        return value.startswith((b"{", b"[")) and _inside(value).has(rest)

    def is_true(self, key: str) -> bool:
        """Whether the member with this key is `true`."""
        item = next((item for item in reversed(self._items) if item.key == key), None)
        return item is not None and self._size(item) == len(b"true") and self._value(item) == b"true"

    def inside(self, paths: Iterable[Sequence[str]]) -> int:
        """Return how many bytes must be parsed to follow `paths` to their ends."""
        keys = {path[0] for path in paths if len(path) > 1}
        return sum(self._size(item) for item in self._items if item.key in keys)

    def edits(self) -> list[Edit]:
        """Return the changes to the text, in its order."""
        members = self._outline.members
        kept = [(item, item.place) for item in self._items if item.place is not None]
        added = [self._spelled(item) for item in self._items if item.place is None]
        if not kept:
            change = Edit(self._outline.opening + 1, self._outline.closing, b",".join(added))
            return [change] if members or added else []
        edits, following = [], 0
        for item, place in kept:
            if place > following:
                edits.append(Edit(members[following].start, members[place].start, b""))
            if item.value is not None:
                edits.append(Edit(members[place].value, members[place].end, item.value))
            following = place + 1
        if added or following < len(members):
            edits.append(Edit(members[following - 1].end, members[-1].end, b"".join(b"," + item for item in added)))
        return edits

    def _check(self) -> None:
        if not self._outline.is_whole:
            raise BadRequest("there are too many members in the body, or in a part of it, for this model's filters")

    def _size(self, item: _Item) -> int:
        if item.value is not None:
            return len(item.value)
        member = self._standing(item)
        return member.end - member.value

    def _value(self, item: _Item) -> bytes:
        if item.value is not None:
            return item.value
        member = self._standing(item)
        return self._read(member.value, member.end)

    def _standing(self, item: _Item) -> Member:
        assert item.place is not None, "what is new has a value"
        return self._outline.members[item.place]

    def _spelled(self, item: _Item) -> bytes:
        value = self._value(item)
        return value if self._is_array else json.dumps(item.key).encode() + b":" + value


def _inside(value: bytes) -> JsonEdit:
    return JsonEdit(outline_of(value, MOST_INSIDE, arrays=True), lambda start, end: value[start:end])


def _written(value: Any) -> bytes:
    return json.dumps(value).encode()


def _stripped(value: bytes, path: Sequence[str]) -> bytes:
    """Return `value` without what `path` leads to within it."""
    if not value.startswith((b"{", b"[")):
        return value
    inside = _inside(value)
    inside.strip(path)
    return edited(value, inside.edits())


def _with(value: bytes, path: Sequence[str], new: Any) -> bytes:
    """Return `value` with `new` where `path` leads to within it; a value without members is replaced by an object."""
    if not path:
        return _written(new)
    value = value if value.startswith((b"{", b"[")) else b"{}"
    inside = _inside(value)
    inside.set(path, new)
    return edited(value, inside.edits())

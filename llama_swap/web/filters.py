"""Takes members out of JSON bodies and puts others in, as `filters` of a model or a peer says.  Pure.

Only what is touched changes: every other byte stays as the client wrote it.  Paths are those of the original
llama-swap: names with dots between them, numbers for elements of lists, and a backslash before a dot that is part of a
name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from attrs import frozen

from llama_swap.config.model import Filters

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_DOT = re.compile(r"(?<!\\)\.")


def filtered(body: bytes, filters: Filters, name: str) -> bytes:
    """Return a valid JSON object in UTF-8 as a model with `filters` gets it, if it was asked for by `name`."""
    for path in filters.strip_params:
        body = _without(body, _names(path))
    for params in (filters.set_params, filters.set_params_by_id.get(name, {})):
        for path, value in params.items():
            body = _with(body, _names(path), value)
    return body


def _names(path: str) -> list[str]:
    return [name.replace("\\.", ".") for name in _DOT.split(path)]


@frozen
class _Member:
    """Where a member of an object, or an element of a list, stands."""

    name: str
    start: int
    value: int
    end: int


def _members(text: bytes, opening: int) -> tuple[list[_Member], int]:
    """Return the members of what opens at `opening`, and where its closing bracket stands."""
    members: list[_Member] = []
    is_object = text[opening : opening + 1] == b"{"
    depth, start = 0, _skip_space(text, opening + 1)
    for token in _TOKEN.finditer(text, opening + 1):
        kind = token.group()
        if kind in (b"{", b"["):
            depth += 1
        elif kind in (b"}", b"]") and depth:
            depth -= 1
        elif kind in (b",", b"}", b"]") and not depth:
            end = token.start() - (len(before := text[start : token.start()]) - len(before.rstrip(b" \t\r\n")))
            if end > start:
                members.append(_member(text, start, end, is_object, len(members)))
            if kind != b",":
                return members, token.start()
            start = _skip_space(text, token.end())
    raise AssertionError("the text is valid JSON")


def _member(text: bytes, start: int, end: int, is_object: bool, index: int) -> _Member:
    if not is_object:
        return _Member(str(index), start, start, end)
    key = _TOKEN.match(text, start)
    assert key is not None, "a member begins with its name"
    colon = _COLON.match(text, key.end())
    assert colon is not None, "a colon follows it"
    return _Member(json.loads(key.group()), start, colon.end(), end)


def _skip_space(text: bytes, position: int) -> int:
    space = _SPACE.match(text, position)
    return position if space is None else space.end()


def _opening(text: bytes) -> int:
    return _skip_space(text, 0)


def _without(text: bytes, names: Sequence[str]) -> bytes:
    """Return `text` without what a path leads to, if it leads anywhere."""
    opening = _opening(text)
    name, *rest = names
    if text[opening : opening + 1] not in (b"{", b"["):
        return text
    while True:  # once, but for a client that repeats itself
        members, closing = _members(text, opening)
        place = next((place for place, member in enumerate(members) if member.name == name), None)
        if place is None:
            return text
        member = members[place]
        if rest:
            return text[: member.value] + _without(text[member.value : member.end], rest) + text[member.end :]
        if place + 1 < len(members):
            text = text[: member.start] + text[members[place + 1].start :]
        elif place:
            text = text[: members[place - 1].end] + text[member.end :]
        else:
            text = text[: opening + 1] + text[closing:]
        if text[opening : opening + 1] == b"[":
            return text


def _with(text: bytes, names: Sequence[str], value: Any) -> bytes:
    """Return `text` with a value where a path leads to; what is missing on the way is made."""
    if not names:
        return json.dumps(value).encode()
    opening = _opening(text)
    name, *rest = names
    bracket = text[opening : opening + 1]
    if bracket not in (b"{", b"["):
        return _with(b"{}", names, value)
    members, closing = _members(text, opening)
    for member in reversed(members):  # of equal names, the last counts to most readers
        if member.name == name:
            return text[: member.value] + _with(text[member.value : member.end], rest, value) + text[member.end :]
    if bracket == b"[" and name not in {"-1", str(len(members))}:
        return text  # a list has no such place
    made = _with(b"{}", rest, value)
    made = made if bracket == b"[" else json.dumps(name).encode() + b":" + made
    end = members[-1].end if members else opening + 1
    return text[:end] + (b"," if members else b"") + made + text[end if members else closing :]

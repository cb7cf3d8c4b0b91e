"""Checks a large JSON text while it arrives, and notes where the outermost members stand that somebody asked for.

Python's own decoder needs the whole text at once, makes objects of all of it, and nothing else happens meanwhile.  Here
the text is checked in the packets in which it comes, by regular expressions each of which swallows as many elements or
members in a row as there are, unless they are nested deeply: what is left for Python are the outer levels, and what the
end of a packet has cut.  Where that is much, whole values are left to the decoder.  The grammar is that of RFC 8259.
"""

from __future__ import annotations

import codecs
import json
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn

from llama_swap.errors import BadRequest

MAX_DEPTH: Final = 900
"""About what Python's decoder takes."""
MAX_SCALAR: Final = 1024 * 1024
"""Characters of one number, beyond which it is refused."""
PATIENCE: Final = 64
"""Steps in one packet after which the regular expressions are not what this text needs."""
_SHORT: Final = 1024
"""A string cut by a packet's end is read again if it is no longer than this; no key that is asked for may be longer."""

# Repeats are possessive (`*+`): without that, they would keep notes about every character, in case they must go back.
_SPACE = r"[ \t\r\n]*+"
_CHARS = r'[ !#-\[\]-\xff]*+(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[ !#-\[\]-\xff]*+)*+'
_STRING = r'"' + _CHARS + r'"'
_SCALAR = r"(?:-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?+[0-9]++)?+|true|false|null)(?=[ \t\r\n,\]}])"


def _elements(value: str) -> str:
    """Return the pattern of any number of elements of an array; after them comes its bracket, or one more."""
    return rf"(?:{value}{_SPACE}(?:,{_SPACE}(?!\])|(?=\])))*+"


def _members(key: str, value: str) -> str:
    """Return the pattern of any number of members of an object; after them comes its brace, or one more."""
    return rf"(?:{key}{_SPACE}:{_SPACE}{value}{_SPACE}(?:,{_SPACE}(?!\}})|(?=\}})))*+"


def _value(levels: int) -> str:
    """Return the pattern of a value with at most so many levels of nesting."""
    if not levels:
        return rf"(?:{_STRING}|{_SCALAR})"
    inner = _value(levels - 1)
    array, object_ = _elements(inner), _members(_STRING, inner)
    return rf"(?:{_STRING}|{_SCALAR}|\[{_SPACE}{array}\]|\{{{_SPACE}{object_}\}})"


_VALUE = _value(3)  # a message in a list of messages, whose content is a list of objects
_SPACES = re.compile(_SPACE)
_ELEMENTS = re.compile(_elements(_VALUE))
_MEMBERS = re.compile(_members(_STRING, _VALUE))
_TOKEN = re.compile(rf"({_SCALAR})|{_STRING}|[\[\]{{}},:]")
_REST_OF_STRING = re.compile(_CHARS)
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?")
_CUT_SCALAR = re.compile(r"[-+.0-9A-Za-z]*+")


@lru_cache
def _members_but(keys: frozenset[str]) -> re.Pattern[str]:
    """Return the pattern of members whose key is none of `keys`, however it may be spelled."""
    doubtful = "|".join(map(re.escape, sorted(keys)))
    return re.compile(_members(rf'"(?!(?:{doubtful})")[ !#-\[\]-\xff]*+"', _VALUE))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final[Any] = json.JSONDecoder(object_pairs_hook=len, parse_int=len, parse_constant=_refuse_constant)

# What may come next, by first character; `0` stands for all that are neither strings nor brackets.
_VALUE_NEXT: Final = '"0[{'
_FIRST_ELEMENT: Final = '"0[{]'
_KEY: Final = '"'
_COLON: Final = ":"
_FIRST_KEY: Final = '"}'
_AFTER: Final = {"]": ",]", "}": ",}"}
_OBJECT: Final = "{"
_NOTHING: Final = ""
_CLOSES: Final = {"[": "]", "{": "}"}


class Member(NamedTuple):
    """An outermost member, and where its value stands, in bytes from the beginning of the text."""

    key: str
    start: int
    end: int


class JsonScan:
    """Takes one JSON text, which must be an object, packet by packet; none of it is kept.

    `found` has the outermost members that have one of `keys` (in ASCII) as their key, repeated ones included.
    """

    def __init__(self, keys: frozenset[str]) -> None:
        self.found: list[Member] = []
        self._keys = keys
        self._outermost = _members_but(keys)
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._received = 0
        self._cut = ""  # the beginning of a token whose end has not come
        self._offset = 0  # of what is looked at now
        self._in_string = False
        self._open: list[str] = []  # the brackets that must still come
        self._next = _OBJECT
        self._key: str | None = None  # whose value is read now, if it is asked for
        self._start = 0

    def feed(self, data: bytes) -> None:
        """Check the next packet.

        @raise BadRequest: this is no JSON.
        """
        self._check_utf8(data)
        text = self._cut + data.decode("latin-1")  # one character a byte
        position = self._scan_string(text, 0) if self._in_string else 0
        if not self._in_string:
            position = self._scan(text, position)
        self._cut = text[position:]
        self._offset += position

    def end(self) -> None:
        """That was all.

        @raise BadRequest: something is missing.
        """
        self._check_utf8(b"", final=True)
        if self._next or self._open or self._cut.strip(" \t\r\n"):
            raise BadRequest(f"invalid JSON: the body ends too early, after {self._received} bytes")

    def _check_utf8(self, data: bytes, *, final: bool = False) -> None:
        try:
            self._utf8.decode(data, final)
        except UnicodeDecodeError as error:
            at = self._received + len(data) - len(error.object) + error.start
            raise BadRequest(f"invalid JSON: the body is not UTF-8 at byte {at}") from None
        self._received += len(data)

    def _scan(self, text: str, position: int) -> int:
        """Take all that is whole; return where it ends."""
        steps = 0
        while True:
            start = self._swallow(text, _end_of(_SPACES, text, position))
            if steps > PATIENCE:
                start = self._decode(text, start)
            steps += 1
            token = _TOKEN.match(text, start)
            if token is None:
                return self._scan_cut(text, start)
            kind = "0" if token.lastindex else text[start]
            if kind not in self._next:
                self._refuse(start)
            self._take(kind, token.group(), start)
            position = token.end()

    def _swallow(self, text: str, position: int) -> int:
        """Take all elements or members that are whole, if they may come now; return where they end."""
        if self._next in (_KEY, _FIRST_KEY):
            pattern, after = (_MEMBERS if len(self._open) > 1 else self._outermost), _KEY
        elif self._next in (_VALUE_NEXT, _FIRST_ELEMENT) and self._open[-1] == "]":
            pattern, after = _ELEMENTS, _VALUE_NEXT
        else:
            return position
        end = _end_of(pattern, text, position)
        if end > position:
            closes = text[end : end + 1] == self._open[-1]
            self._next = _AFTER[self._open[-1]] if closes else after
        return end

    def _decode(self, text: str, position: int) -> int:
        """Take an array or object that is whole, if one may come now; return what follows it."""
        if not text.startswith(("[", "{"), position) or text[position] not in self._next:
            return position
        try:
            _, end = _DECODER.scan_once(text, position)
        except (StopIteration, ValueError, RecursionError):  # its end has not come, unless it has a fault
            return position
        self._begin_value(position)
        self._end_value(end)
        return _end_of(_SPACES, text, end)

    def _take(self, kind: str, token: str, start: int) -> None:
        """A token has come that was expected."""
        if kind == ",":
            self._next = _VALUE_NEXT if self._open[-1] == "]" else _KEY
        elif kind == ":":
            self._next = _VALUE_NEXT
        elif kind == '"' and self._next in (_KEY, _FIRST_KEY):
            self._next = _COLON
            if len(self._open) == 1:
                key = json.loads(token)
                self._key = key if key in self._keys else None
        elif kind in _CLOSES:
            self._begin_value(start)
            self._open.append(_CLOSES[kind])
            self._next = _FIRST_ELEMENT if kind == "[" else _FIRST_KEY
            if len(self._open) > MAX_DEPTH:
                raise BadRequest("invalid JSON: the body is nested too deeply")
        else:
            if kind in _AFTER:
                self._open.pop()
            else:
                self._begin_value(start)
            self._end_value(start + len(token))

    def _begin_value(self, start: int) -> None:
        if len(self._open) == 1:
            self._start = self._offset + start

    def _end_value(self, end: int) -> None:
        self._next = _AFTER[self._open[-1]] if self._open else _NOTHING
        if len(self._open) == 1 and self._key is not None:
            self.found.append(Member(self._key, self._start, self._offset + end))

    # -- what the end of a packet has cut ---------------------------------------------------------------------

    def _scan_cut(self, text: str, position: int) -> int:
        """Judge what cannot be taken; return where that begins which is to be read again with the next packet."""
        rest = len(text) - position
        if not rest:
            return position
        if text[position] == '"':
            if '"' not in self._next:
                self._refuse(position)
            if rest <= _SHORT:
                return position
            self._in_string = True
            if self._next not in (_KEY, _FIRST_KEY):
                self._begin_value(position)
            return self._scan_string(text, position + 1)
        if _end_of(_CUT_SCALAR, text, position) < len(text) or "0" not in self._next:
            self._refuse(position)
        if rest > MAX_SCALAR:
            raise BadRequest(f"invalid JSON: the number at byte {self._offset + position} is too long")
        return position

    def _scan_string(self, text: str, position: int) -> int:
        """Go on in a string; return where its end is, or what must be read again."""
        position = _end_of(_REST_OF_STRING, text, position)
        if text[position : position + 1] == '"':
            self._in_string = False
            position += 1
            if self._next in (_KEY, _FIRST_KEY):
                self._key, self._next = None, _COLON
            else:
                self._end_value(position)
        elif position < len(text) and not _CUT_ESCAPE.fullmatch(text, position):
            self._refuse(position)
        return position

    def _refuse(self, position: int) -> NoReturn:
        if self._next is _OBJECT:
            raise BadRequest('invalid JSON: the body must be an object, such as {"model": …}')
        raise BadRequest(f"invalid JSON at byte {self._offset + position}")


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return where a match ends of a pattern that can match nothing at all."""
    match = pattern.match(text, position)
    assert match is not None
    return match.end()

"""Checks a JSON text while it arrives, and notes where its outermost members stand.

Python's own decoder needs the whole text at once, makes objects of all of it, and blocks the reactor meanwhile.  Here
the text is checked in the packets in which it comes, by regular expressions, each of which matches as many elements or
members in a row as there are, unless they are deeply nested.  Python code is left with the outer levels, and with what
the end of a packet has cut.  Where that is much, whole values are left to the decoder.  The grammar is RFC 8259's.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Final, NoReturn

from llama_swap.bodies import json_grammar
from llama_swap.bodies.json_grammar import CUT_ESCAPE, CUT_SCALAR, REST_OF_STRING, SPACES, TOKEN, refuse_constant
from llama_swap.bodies.json_outline import ALWAYS, MOST_MEMBERS, Member, Noted, Outline
from llama_swap.errors import BadRequest

MAX_DEPTH: Final = 900
"""The deepest nesting: about what Python's decoder takes."""
MAX_SCALAR: Final = 128 * 1024
"""The longest number, in characters: until its end has come, it is read again with each packet."""
MOST_STEPS: Final = 64
"""Steps in one packet after which the decoder is tried: the regular expressions do not suit this text."""
_PACKET: Final = 64 * 1024
"""Bytes of a text in memory that are checked in one go; no other thread runs meanwhile."""
_NOT_PLAIN: Final = bytes(range(0x20)) + b'"\\'
_SHORT: Final = 1024
"""A string cut by a packet's end is read again if it is at most so long; longer keys are not looked for."""


_DECODER: Final[Any] = json.JSONDecoder(object_pairs_hook=len, parse_int=len, parse_constant=refuse_constant)

# What may come next, by its first character; `0` stands for numbers and literals.
_VALUE_NEXT: Final = '"0[{'
_FIRST_ELEMENT: Final = '"0[{]'
_KEY: Final = '"'
_COLON: Final = ":"
_FIRST_KEY: Final = '"}'
_AFTER: Final = {"]": ",]", "}": ",}"}
_OBJECT: Final = "{"
_ROOT: Final = "{["
_NOTHING: Final = ""
_CLOSES: Final = {"[": "]", "{": "}"}


class JsonScan:
    """Takes one JSON text, an object, packet by packet; none of it is kept.

    Up to `most` members are noted; of a text with more of them, only one with the key `model`.  With `arrays`, the text
    may also be an array.
    """

    def __init__(self, most: int = MOST_MEMBERS, *, arrays: bool = False) -> None:
        self._noted = Noted(most)
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._received = 0
        self._cut = ""  # the beginning of a token whose end has not come
        self._offset = 0  # of what is looked at now, in the whole text
        self._in_string = False
        self._open: list[str] = []  # the closing brackets that must still come
        self._next = _ROOT if arrays else _OBJECT
        self._opening = self._closing = 0
        self._key: str | None = None  # of the outermost member that is being read
        self._key_start = self._start = 0

    def feed(self, data: bytes) -> None:
        """Check the next packet.

        @raise BadRequest: it is not JSON.
        """
        self._check_utf8(data)
        if self._in_string and not self._cut and _is_plain(data):
            self._offset += len(data)
            return
        text = self._cut + data.decode("latin-1")  # one character a byte
        position = self._scan_string(text, 0) if self._in_string else 0
        if not self._in_string:
            position = self._scan(text, position)
        self._cut = text[position:]
        self._offset += position

    def end(self) -> Outline:
        """The text is complete; return its outline.

        @raise BadRequest: its end is missing.
        """
        self._check_utf8(b"", final=True)
        if self._next or self._open or self._cut.strip(" \t\r\n"):
            raise BadRequest(f"invalid JSON: the body ends too early, after {self._received} bytes")
        return Outline(self._opening, self._closing, self._noted.members, self._noted.is_whole)

    def _check_utf8(self, data: bytes, *, final: bool = False) -> None:
        try:
            self._utf8.decode(data, final)
        except UnicodeDecodeError as error:
            at = self._received + len(data) - len(error.object) + error.start
            raise BadRequest(f"invalid JSON: the body is not UTF-8 at byte {at}") from None
        self._received += len(data)

    def _scan(self, text: str, position: int) -> int:
        """Take all complete tokens; return where they end."""
        steps, budget = 0, MOST_STEPS
        while True:
            start = self._swallow(text, _end_of(SPACES, text, position))
            if steps > budget and text.startswith(("[", "{"), start):
                after = self._decode(text, start)
                if after == start:  # in vain, and it may have read the whole packet: do not try again soon
                    budget = 2 * steps
                start = after
            steps += 1
            token = TOKEN.match(text, start)
            if token is None:
                return self._scan_cut(text, start)
            kind = "0" if token.lastindex else text[start]
            if kind not in self._next:
                self._refuse(start)
            self._take(kind, token.group(), start)
            position = token.end()

    def _swallow(self, text: str, position: int) -> int:
        """Take all complete elements or members, if they may come now; return where they end."""
        if self._next in (_KEY, _FIRST_KEY):
            is_object = True
        elif self._next in (_VALUE_NEXT, _FIRST_ELEMENT) and self._open[-1] == "]":
            is_object = False
        else:
            return position
        if len(self._open) == 1:
            end = self._swallow_outermost(is_object, text, position)
        else:
            end = _end_of(json_grammar.members() if is_object else json_grammar.elements(), text, position)
        if end > position:
            closes = text[end : end + 1] == self._open[-1]
            self._next = _AFTER[self._open[-1]] if closes else _KEY if is_object else _VALUE_NEXT
        return end

    def _swallow_outermost(self, is_object: bool, text: str, position: int) -> int:
        """Do the same for the outermost, one by one if they are noted."""
        one = json_grammar.member() if is_object else json_grammar.element()
        while True:
            if not self._noted.is_whole:
                many = json_grammar.members_but(ALWAYS) if is_object else json_grammar.elements()
                position = _end_of(many, text, position)
            match = one.match(text, position)
            if match is None:
                return position
            start, end = match.span("value")
            if is_object:
                self._key, self._key_start = _unquoted(match["key"]), self._offset + position
            self._start = self._offset + start
            self._note(self._offset + end)
            position = match.end()

    def _note(self, end: int) -> None:
        """Remember the outermost member that has come."""
        key, start = (
            (str(len(self._noted.members)), self._start) if self._open[0] == "]" else (self._key, self._key_start)
        )
        self._noted.add(Member(key, start, self._start, end))

    def _decode(self, text: str, position: int) -> int:
        """Take a complete array or object, if one may come now; return where what follows it begins."""
        if text[position] not in self._next:
            return position
        try:
            _, end = _DECODER.scan_once(text, position)
        except (StopIteration, ValueError, RecursionError):  # its end has not come, or it is malformed
            return position
        self._begin_value(position)
        self._end_value(end)
        return _end_of(SPACES, text, end)

    def _take(self, kind: str, token: str, start: int) -> None:
        """Take a token that was expected."""
        if kind == ",":
            self._next = _VALUE_NEXT if self._open[-1] == "]" else _KEY
        elif kind == ":":
            self._next = _VALUE_NEXT
        elif kind == '"' and self._next in (_KEY, _FIRST_KEY):
            self._next = _COLON
            if len(self._open) == 1:
                self._key, self._key_start = _unquoted(token), self._offset + start
        elif kind in _CLOSES:
            self._begin_value(start)
            if not self._open:
                self._opening = self._offset + start
            self._open.append(_CLOSES[kind])
            self._next = _FIRST_ELEMENT if kind == "[" else _FIRST_KEY
            if len(self._open) > MAX_DEPTH:
                raise BadRequest("invalid JSON: the body is nested too deeply")
        else:
            if kind in _AFTER:
                self._open.pop()
                self._closing = self._offset + start
            else:
                self._begin_value(start)
            self._end_value(start + len(token))

    def _begin_value(self, start: int) -> None:
        if len(self._open) == 1:
            self._start = self._offset + start

    def _end_value(self, end: int) -> None:
        self._next = _AFTER[self._open[-1]] if self._open else _NOTHING
        if len(self._open) == 1:
            self._note(self._offset + end)

    # -- what the end of a packet has cut ---------------------------------------------------------------------

    def _scan_cut(self, text: str, position: int) -> int:
        """Judge what is incomplete; return from where it must be read again with the next packet."""
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
            elif len(self._open) == 1:
                self._key, self._key_start = None, self._offset + position
            return self._scan_string(text, position + 1)
        if _end_of(CUT_SCALAR, text, position) < len(text) or "0" not in self._next:
            self._refuse(position)
        if rest > MAX_SCALAR:
            raise BadRequest(f"invalid JSON: the number at byte {self._offset + position} is too long")
        return position

    def _scan_string(self, text: str, position: int) -> int:
        """Go on within a string; return where it ends, or from where it must be read again."""
        position = _end_of(REST_OF_STRING, text, position)
        if text[position : position + 1] == '"':
            self._in_string = False
            position += 1
            if self._next in (_KEY, _FIRST_KEY):
                self._next = _COLON
            else:
                self._end_value(position)
        elif position < len(text) and not CUT_ESCAPE.fullmatch(text, position):
            self._refuse(position)
        return position

    def _refuse(self, position: int) -> NoReturn:
        if self._next in (_OBJECT, _ROOT):
            raise BadRequest('invalid JSON: the body must be an object, such as {"model": …}')
        raise BadRequest(f"invalid JSON at byte {self._offset + position}")


def _is_plain(data: bytes) -> bool:
    """Whether this is nothing but a part of a string, without escapes: images are that, and regular expressions would
    take four times as long.
    """
    return b'"' not in data and len(data.translate(None, _NOT_PLAIN)) == len(data)


def _end_of(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Return where the match of a pattern ends that also matches the empty string."""
    match = pattern.match(text, position)
    assert match is not None
    return match.end()


def _unquoted(key: str) -> str | None:
    """Return the key spelled `key`, one character a byte; None if it is too long to be looked for."""
    return json.loads(key.encode("latin-1")) if len(key) <= _SHORT else None


def outline_of(text: bytes, most: int = MOST_MEMBERS, *, arrays: bool = False) -> Outline:
    """Return where the outermost members of a text in memory stand.

    @raise BadRequest: it is not JSON.
    """
    scan = JsonScan(most, arrays=arrays)
    for start in range(0, len(text), _PACKET):
        scan.feed(text[start : start + _PACKET])
    return scan.end()

"""The grammar of JSON (RFC 8259) as regular expressions, for UTF-8 decoded as Latin-1: one character for each byte.

Expressions that contain a whole value take some milliseconds to compile, so they are compiled when they are needed.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NoReturn

# Repeats are possessive (`*+`): otherwise they would store a position to backtrack to for every character.  Repeats of
# groups are written as atomic groups, `(?>(?:…)*)`, which means the same: before 3.11.5, Python also matches half a
# possessive group (https://github.com/python/cpython/issues/106052), and Debian 12 has 3.11.2.
_SPACE = r"[ \t\r\n]*+"
_PLAIN = r"[ !#-\[\]-\xff]*+"
_LINES = rf'{_PLAIN}(?>(?:\\["\\/bfnrt]{_PLAIN})*)'
_CHARS = rf"{_LINES}(?>(?:\\u[0-9A-Fa-f]{{4}}{_LINES})*)"  # one alternation of all escapes takes twice as long
_STRING = r'"' + _CHARS + r'"'
_SCALAR = r"(?:-?+(?:0|[1-9][0-9]*+)(?>(?:\.[0-9]++)?)(?>(?:[eE][-+]?+[0-9]++)?)|true|false|null)(?=[ \t\r\n,\]}])"


def _element(value: str) -> str:
    """Return the pattern of an element of an array, followed by the closing bracket or another element."""
    return rf"(?:{value}{_SPACE}(?:,{_SPACE}(?!\])|(?=\])))"


def _member(key: str, value: str) -> str:
    """Return the pattern of a member of an object, followed by the closing brace or another member."""
    return rf"(?:{key}{_SPACE}:{_SPACE}{value}{_SPACE}(?:,{_SPACE}(?!\}})|(?=\}})))"


def _value(levels: int) -> str:
    """Return the pattern of a value with at most so many levels of nesting."""
    if not levels:
        return rf"(?:{_STRING}|{_SCALAR})"
    inner = _value(levels - 1)
    element, member = _element(inner), _member(_STRING, inner)
    return rf"(?:{_STRING}|{_SCALAR}|\[{_SPACE}(?>{element}*)\]|\{{{_SPACE}(?>{member}*)\}})"


_VALUE = _value(3)  # a message in a list of messages, whose content is a list of objects
SPACES = re.compile(_SPACE)
TOKEN = re.compile(rf"({_SCALAR})|{_STRING}|[\[\]{{}},:]")
REST_OF_STRING = re.compile(_CHARS)
CUT_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?")
CUT_SCALAR = re.compile(r"[-+.0-9A-Za-z]*+")


@cache
def element() -> re.Pattern[str]:
    """Return the pattern of an element of an array, the value of which is a group."""
    return re.compile(_element(f"(?P<value>{_VALUE})"))


@cache
def elements() -> re.Pattern[str]:
    """Return the pattern of any number of elements of an array."""
    return re.compile("(?>" + _element(_VALUE) + "*)")


@cache
def member() -> re.Pattern[str]:
    """Return the pattern of a member of an object, the key and the value of which are groups."""
    return re.compile(_member(f"(?P<key>{_STRING})", f"(?P<value>{_VALUE})"))


@cache
def members() -> re.Pattern[str]:
    """Return the pattern of any number of members of an object."""
    return re.compile("(?>" + _member(_STRING, _VALUE) + "*)")


@cache
def members_but(key: str) -> re.Pattern[str]:
    """Return the pattern of any number of members whose key is not `key`, in whatever spelling."""
    return re.compile("(?>" + _member(rf'"(?!{re.escape(key)}")[ !#-\[\]-\xff]*+"', _VALUE) + "*)")


def refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python's decoder accepts as numbers."""
    raise ValueError(f"{name} is not JSON")

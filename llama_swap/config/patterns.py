"""Regular expressions as Go writes them (https://github.com/google/re2/wiki/Syntax), for Python's `re`.  Pure.

They are only matched against paths, which are printable ASCII, so differences in what counts as a digit or as the end
of a line do not matter.  Syntax that only Python has is passed on unchanged.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_TOKEN = re.compile(
    r"""
      \\Q (?P<quoted> .*?) (?: \\E | \Z )
    | \\x\{ (?P<code> [0-9A-Fa-f]{1,6} ) \}
    | (?P<escape> \\. )
    | (?P<set> \[ \^? \]? (?> (?: \[:\^?\w+:\] | \\. | [^]\\] )* ) \] )
    | \(\? (?P<flags> [ims]+ (?: -[ims]+ )? | -[ims]+ ) \)
    | (?P<named> \(\?< (?=\w) )
    | (?P<opening> \( )
    | (?P<closing> \) )
    | (?P<bar> \| )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_IN_SET = re.compile(
    r"\[:(?P<negated>\^?)(?P<name>\w+):\]|\\x\{(?P<code>[0-9A-Fa-f]{1,6})\}|(?P<escape>\\.)|\[", re.DOTALL
)
_ANYTHING_FIRST = re.compile(r"\A\.\*\??(?![*+?{])")
_UNREADABLE: Final = {r"\p", r"\P", r"\C"}
_NAMED_SETS: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t-\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
"""The POSIX character classes, as the contents of a set."""


@cache
def compiled(text: str) -> re.Pattern[str]:
    """Return a regular expression of Go, compiled for `search`.

    `.*` at its beginning is left out: it changes nothing about what is found, but Python, unlike Go, would take a time
    that grows with the square of the length of a path, and whoever sends a long one could stop everything.

    @raise ValueError: it is not valid; the message says why.
    """
    try:
        re.compile(_translated(text))  # as written, so that messages are about that
        return re.compile(_translated(_ANYTHING_FIRST.sub("", text)))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(getattr(error, "msg", None) or str(error)) from None


def _translated(text: str) -> str:
    """Return a regular expression of Go as one of Python.

    In Go, flags such as `(?i)` apply up to the end of the group, its other alternatives included; Python only has them
    for a group of their own, `(?i:…)`, so such groups are opened, and closed at the end of each alternative.
    """
    parts: list[str] = []
    open_groups: list[list[str]] = [[]]  # for each open group, the flag groups opened within it
    for token in _TOKEN.finditer(text):
        part, flags = token[0], open_groups[-1]
        match token.lastgroup:
            case "flags":
                part = f"(?{token['flags']}:"
                flags.append(part)
            case "named":
                part = "(?P<"
                open_groups.append([])
            case "opening":
                open_groups.append([])
            case "closing" if len(open_groups) > 1:
                part = ")" * len(open_groups.pop()) + part
            case "bar":
                part = ")" * len(flags) + part + "".join(flags)
            case _:
                part = _by_itself(token)
        parts.append(part)
    return "".join(parts) + ")" * len(open_groups[-1])


def _by_itself(token: re.Match[str]) -> str:
    """Return the Python form of a token that does not open or close a group."""
    match token.lastgroup:
        case "quoted":
            return re.escape(token["quoted"])
        case "code":
            return _character(token["code"])
        case "escape":
            return _escape(token[0])
        case "set":
            return "[" + _IN_SET.sub(_part_of_set, token[0][1:])
    return token[0]


def _part_of_set(found: re.Match[str]) -> str:
    if found["code"]:
        return _character(found["code"])
    if found["escape"]:
        return _escape(found["escape"])
    if not found["name"]:
        return r"\["
    among = _NAMED_SETS.get(found["name"])
    if among is None:
        raise ValueError(f"there is no {found[0]}; there are {', '.join(_NAMED_SETS)}")
    if not found["negated"]:
        return among
    every = map(chr, range(128))
    return "".join(re.escape(character) for character in every if not re.match(f"[{among}]", character))


def _character(code: str) -> str:
    return re.escape(chr(int(code, 16)))


def _escape(written: str) -> str:
    if written in _UNREADABLE:
        raise ValueError(f"{written} cannot be used here; write the characters that are meant, such as [A-Za-z]")
    return r"\Z" if written == r"\z" else written

"""Regular expressions as Go writes them (https://github.com/google/re2/wiki/Syntax), for Python's `re`.  Pure.

They are only searched for in paths, which are printable ASCII: where the two languages differ in what a digit or the
end of a line is, that cannot be seen.  What only Python knows is left to it.
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
"""Those of POSIX, as they stand within brackets."""


@cache
def compiled(text: str) -> re.Pattern[str]:
    """Return what searches for a regular expression; a ValueError says what is wrong with it."""
    try:
        return re.compile(_translated(text))
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(getattr(error, "msg", None) or str(error)) from None


def _translated(text: str) -> str:
    """Return a regular expression of Go as one of Python.

    In Go, flags such as `(?i)` hold from where they stand to the end of the group, its other alternatives included; in
    Python only within parentheses of their own.
    """
    parts: list[str] = []
    open_groups: list[list[str]] = [[]]  # what opened the parentheses for the flags, for each
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
    """Return what a token that has to do with no group is to Python."""
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

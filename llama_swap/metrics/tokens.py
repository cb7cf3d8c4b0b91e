"""Token counts and speeds, as a model's server reports them at the end of its answer.

Pure.  The answer is not parsed for this, only searched.  Of the objects named `usage` (OpenAI, Anthropic, vLLM), the
last one counts, merged over the first one, since Anthropic's streams report the prompt's size at their beginning.
llama.cpp's `timings`, which follow it, are more exact, and win.  A quote inside a JSON string is escaped, so text in
the answer cannot be mistaken for either name.
"""

from __future__ import annotations

import re
from json.decoder import JSONDecoder
from json.scanner import make_scanner
from typing import Any, Final, NamedTuple, cast

UNKNOWN: Final = -1
MOST: Final = 2048
"""The most bytes of one of these objects."""
LARGEST: Final = 1 << 53
"""Larger numbers make no sense, and may be too large for the table, for JavaScript and for Prometheus."""

_scan = make_scanner(cast(Any, JSONDecoder()))  # typeshed has it wrong
_TO_OBJECT = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*\{")
_PLAIN = re.compile(
    rb'"usage": ?+\{"prompt_tokens": ?+([0-9]{1,9}+), ?+(?:"total_tokens": ?+[0-9]{1,9}+, ?+|)'
    rb'"completion_tokens": ?+([0-9]{1,9}+)(?:, ?+"total_tokens": ?+[0-9]{1,9}+|)'
    rb'(?:, ?+"prompt_tokens_details": ?+null|)\}[^"]*+(?>(?:"(?!timings")[^"]*+)*)\Z'
)
"""The most common form of `usage`, with the rest of the text, if that has no `timings`.  Without backtracking, it takes
a third less time.  Groups are atomic, `(?>`, since before Python 3.11.5 possessive groups can match by half
(https://github.com/python/cpython/issues/106052)."""
_CHUNK_BORDER = re.compile(rb"\r\n[0-9A-Fa-f]{1,16}(?:;[^\r\n]*)?\r\n")


class Tokens(NamedTuple):
    """The counts and speeds of one answer; -1 where the server did not say."""

    input: int = UNKNOWN
    output: int = UNKNOWN
    cached: int = UNKNOWN
    """Tokens of the prompt that were taken from the server's cache."""
    drafted: int = UNKNOWN
    """Tokens proposed by speculative decoding."""
    accepted: int = UNKNOWN
    """Drafted tokens that were accepted."""
    input_per_second: float = UNKNOWN
    output_per_second: float = UNKNOWN


Counts = tuple[int, int] | Tokens
"""`Tokens`, or only its two most common values: making such a pair takes a quarter of the time."""
NOTHING_KNOWN: Final = Tokens()


def read_tokens(first: bytes, last: bytes, chunked: bool) -> Counts:
    """Return what the beginning and the end of an answer report; both are the same where the answer is short.

    If `chunked`, they contain chunk framing (RFC 9112 §7.1), which may be anywhere.
    """
    if chunked:
        last = _CHUNK_BORDER.sub(b"", last)
    if plain := _PLAIN.match(last, last.rfind(b'"usage"')):
        read, written = plain.groups()
        return int(read), int(written)
    if b'"timings"' in last and (timings := _last_object(last, b'"timings"')):
        return _timed(timings, {} if "cache_n" in timings else _last_object(last, b'"usage"'))
    usage = _last_object(last, b'"usage"')
    if "prompt_tokens" not in usage:
        usage = {**_first_object(_CHUNK_BORDER.sub(b"", first) if chunked else first, b'"usage"'), **usage}
        if not usage:
            return NOTHING_KNOWN
    get = usage.get
    return Tokens(
        _whole(get("prompt_tokens") if "prompt_tokens" in usage else get("input_tokens")),
        _whole(get("completion_tokens") if "completion_tokens" in usage else get("output_tokens")),
        _whole(_cached(usage)),
    )


def _timed(timings: dict[str, Any], usage: dict[str, Any]) -> Tokens:
    get = timings.get
    return Tokens(
        _whole(get("prompt_n")),
        _whole(get("predicted_n")),
        _whole(get("cache_n") if "cache_n" in timings else _cached(usage)),
        _whole(get("draft_n")),
        _whole(get("draft_n_accepted")),
        _speed(get("prompt_per_second")),
        _speed(get("predicted_per_second")),
    )


def _cached(usage: dict[str, Any]) -> object:
    """Return the cached tokens, by Anthropic's name or OpenAI's."""
    if "cache_read_input_tokens" in usage:
        return usage["cache_read_input_tokens"]
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
    return details.get("cached_tokens") if isinstance(details, dict) else None


def _first_object(text: bytes, name: bytes) -> dict[str, Any]:
    at = text.find(name)
    while at >= 0:
        if found := _object_after(text, at + len(name)):
            return found
        at = text.find(name, at + 1)
    return {}


def _last_object(text: bytes, name: bytes) -> dict[str, Any]:
    at = text.rfind(name)
    while at >= 0:
        if found := _object_after(text, at + len(name)):
            return found
        at = text.rfind(name, 0, at)
    return {}


def _object_after(text: bytes, at: int) -> dict[str, Any]:
    """Return the object that is the value of the name before `at`; empty if it is no object, or cut off."""
    if not text.startswith(b":{", at):
        colon = _TO_OBJECT.match(text, at)
        if colon is None:
            return {}
        at = colon.end() - 2
    try:
        # Names and numbers are ASCII, so other text may be decoded wrongly.
        found: dict[str, Any] = _scan(text[at + 1 : at + 1 + MOST].decode("latin-1"), 0)[0]
    except (ValueError, StopIteration, RecursionError):
        return {}
    return found


def _whole(value: object) -> int:
    return value if type(value) is int and 0 <= value <= LARGEST else UNKNOWN


def _speed(value: object) -> float:
    return value if isinstance(value, float | int) and 0 <= value <= LARGEST else UNKNOWN

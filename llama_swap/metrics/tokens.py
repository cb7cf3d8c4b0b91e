"""Token counts and speeds, from what a model server says of them at the end of its answer.

Pure.  An answer is not parsed for this, only looked at.  Of the objects named `usage` (OpenAI, Anthropic, vLLM) the
last one counts, on top of the first one, since Anthropic's streams tell the prompt's size at their beginning.
llama.cpp's `timings`, which follow it, are more exact, and win.  A quote inside a JSON string is escaped, so neither
name can be mistaken for text.
"""

from __future__ import annotations

import re
from json.decoder import JSONDecoder
from json.scanner import make_scanner
from typing import Any, Final, NamedTuple, cast

UNKNOWN: Final = -1
MOST: Final = 2048
"""How many bytes one of the objects may have."""
LARGEST: Final = 1 << 53
"""Larger numbers say nothing, and could be too large for whoever is to hold them: a table, a page, Prometheus."""

_scan = make_scanner(cast(Any, JSONDecoder()))  # typeshed has it wrong
_TO_OBJECT = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*\{")
_PLAIN = re.compile(
    rb'"usage": ?+\{"prompt_tokens": ?+([0-9]{1,9}+), ?+(?:"total_tokens": ?+[0-9]{1,9}+, ?+|)'
    rb'"completion_tokens": ?+([0-9]{1,9}+)(?:, ?+"total_tokens": ?+[0-9]{1,9}+|)'
    rb'(?:, ?+"prompt_tokens_details": ?+null|)\}[^"]*+(?>(?:"(?!timings")[^"]*+)*)\Z'
)
"""What servers write that know no more, up to the end.  Nothing of it is tried twice, which takes a third off
the time for it; of a group, that is said by `(?>`, since Python before 3.11.5 takes a half of a possessive one."""
_CHUNK_BORDER = re.compile(rb"\r\n[0-9A-Fa-f]{1,16}(?:;[^\r\n]*)?\r\n")


class Tokens(NamedTuple):
    """What one answer took; -1 where the server did not say."""

    input: int = UNKNOWN
    output: int = UNKNOWN
    cached: int = UNKNOWN
    """Tokens of the prompt that were in the server's cache."""
    drafted: int = UNKNOWN
    accepted: int = UNKNOWN
    """Of the drafted ones, those that were right."""
    input_per_second: float = UNKNOWN
    output_per_second: float = UNKNOWN


Counts = tuple[int, int] | Tokens
"""All that is known, or only the two of `Tokens` that are mostly known: such a pair is made in a fourth of the time."""
NOTHING_KNOWN: Final = Tokens()


def read_tokens(first: bytes, last: bytes, chunked: bool) -> Counts:
    """Return what the two ends of an answer say; both are the same where the answer is short.

    If `chunked`, they are parts of a body in its chunks (RFC 9112 §7.1), whose borders may be anywhere.
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
    """Return what Anthropic says of the cache, or else OpenAI."""
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
    """Return the object that is the value of the name before `at`; nothing if it is none, or cut off."""
    if not text.startswith(b":{", at):
        colon = _TO_OBJECT.match(text, at)
        if colon is None:
            return {}
        at = colon.end() - 2
    try:
        # Names and numbers are ASCII, whatever the rest is.
        found: dict[str, Any] = _scan(text[at + 1 : at + 1 + MOST].decode("latin-1"), 0)[0]
    except (ValueError, StopIteration, RecursionError):
        return {}
    return found


def _whole(value: object) -> int:
    return value if type(value) is int and 0 <= value <= LARGEST else UNKNOWN


def _speed(value: object) -> float:
    return value if isinstance(value, float | int) and 0 <= value <= LARGEST else UNKNOWN

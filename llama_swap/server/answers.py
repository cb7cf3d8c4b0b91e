"""How the proxy's own routes read a query, and answer.

Their answers show the state at one moment, so nobody may cache them.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from twisted.web.http import Request

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"
_POLICY = b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
"""Pages load nothing from elsewhere, and no inline script runs: https://www.w3.org/TR/CSP3/ ."""


def query_of(request: Request) -> dict[str, list[str]]:
    """Return the parameters of a request's query, each with its values in order; `?flag` has the empty string.

    `request.args` would lack parameters without "=".
    """
    return parse_qs(request.uri.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)


def whole_number(text: str) -> int | None:
    """Return `text` as a number from 0 up, of at most 15 digits; None if it is none.

    `int` would accept signs, blanks, underscores and the digits of every script.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def harden(request: Request) -> None:
    """Set the security headers of the proxy's own answers; those of models have their own."""
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    request.setHeader(b"Content-Security-Policy", _POLICY)


def answer(request: Request, content_type: bytes, body: bytes) -> bytes:
    """Set the headers of a complete answer; return its body."""
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Cache-Control", b"no-store")
    return body


def json_answer(request: Request, value: object) -> bytes:
    """Do the same for `value` as JSON."""
    return answer(request, JSON, json.dumps(value).encode())


def text_answer(request: Request, text: str) -> bytes:
    """Do the same for a text."""
    return answer(request, TEXT, text.encode())


def begin_stream(request: Request, content_type: bytes) -> None:
    """Set the headers of an answer that is written piece by piece; a proxy in front of us must not buffer it."""
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Cache-Control", b"no-cache")
    request.setHeader(b"X-Accel-Buffering", b"no")

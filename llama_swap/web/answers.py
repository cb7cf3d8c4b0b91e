"""How the proxy's own routes read a query, and answer.

What they tell is the state of a moment: so nobody is to keep it.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs

from twisted.web.http import Request

TEXT = b"text/plain; charset=utf-8"
JSON = b"application/json"
_POLICY = b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
"""Nothing is loaded from elsewhere, and nothing that stands within a page runs: https://www.w3.org/TR/CSP3/ ."""


def query_of(request: Request) -> dict[str, list[str]]:
    """Return the parameters of a request's URL, each with its values in order; in `?flag`, that is the empty text.

    Not `request.args`, which lack a parameter without "=".
    """
    return parse_qs(request.uri.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)


def whole_number(text: str) -> int | None:
    """Return the number that `text` is, from 0 up, of at most 15 digits; None if it is none.

    Stricter than `int`, which takes signs, blanks, underscores and the digits of every script.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def harden(request: Request) -> None:
    """Set the headers by which a browser takes an answer of ours, not of a model, for what it is, and nothing else."""
    request.setHeader(b"X-Content-Type-Options", b"nosniff")
    request.setHeader(b"Content-Security-Policy", _POLICY)


def answer(request: Request, content_type: bytes, body: bytes) -> bytes:
    """Set the headers of an answer that is known as a whole; return its body."""
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Cache-Control", b"no-store")
    return body


def json_answer(request: Request, value: object) -> bytes:
    """Do the same for what JSON can say."""
    return answer(request, JSON, json.dumps(value).encode())


def text_answer(request: Request, text: str) -> bytes:
    """Do the same for a text."""
    return answer(request, TEXT, text.encode())


def begin_stream(request: Request, content_type: bytes) -> None:
    """Set the headers of an answer that is written as things happen, and held back by no proxy before us."""
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Cache-Control", b"no-cache")
    request.setHeader(b"X-Accel-Buffering", b"no")

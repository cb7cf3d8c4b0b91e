"""The one place where an error becomes an answer."""

from __future__ import annotations

import json
from html import escape

from twisted.web.http import Request, datetimeToString

from llama_swap.errors import SwapError, Unauthorized
from llama_swap.server.answers import harden

CHALLENGE = b'Basic realm="llama-swap"'
"""Lets a browser ask its user for a key (RFC 7617)."""


def render(error: SwapError, accept: bytes) -> tuple[bytes, bytes]:
    """Return content type and body of an error, for a client that sends `accept`.

    It is JSON that fits both OpenAI's and Anthropic's format, unless the client prefers text or HTML.
    """
    if b"application/json" not in accept:
        if b"text/html" in accept:
            page = f"<!doctype html><title>llama-swap</title><h1>llama-swap</h1><p>{escape(str(error))}</p>\n"
            return b"text/html; charset=utf-8", page.encode(errors="backslashreplace")
        if b"text/plain" in accept:
            return b"text/plain; charset=utf-8", f"llama-swap: {error}\n".encode(errors="backslashreplace")
    return b"application/json", json.dumps({"src": "llama-swap", "type": "error", "error": describe(error)}).encode()


def describe(error: SwapError) -> dict[str, str | None]:
    """Return OpenAI's error object."""
    return {"message": str(error), "type": error.type, "param": None, "code": error.code}


def head(request: Request, error: SwapError) -> bytes:
    """Set status and headers for `error`; return the body."""
    content_type, body = render(error, request.getHeader(b"accept") or b"")
    request.setResponseCode(error.status, _PHRASES.get(error.status))
    request.setHeader(b"Date", datetimeToString())
    request.setHeader(b"Content-Type", content_type)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    harden(request)
    if error.retry_after is not None:
        request.setHeader(b"Retry-After", b"%d" % error.retry_after)
    if isinstance(error, Unauthorized):
        request.setHeader(b"WWW-Authenticate", CHALLENGE)
    return body


def last_answer(error: SwapError, accept: bytes, cors: bytes) -> bytes:
    """Return an answer with `error`, head included, for a client whose request could not be read completely.

    `cors` are the header lines that let a page read it, if any.
    """
    content_type, body = render(error, accept)
    more = b"WWW-Authenticate: %b\r\n%b" % (CHALLENGE, cors) if isinstance(error, Unauthorized) else cors
    status = b"%d %b" % (error.status, _PHRASES[error.status])
    return _LAST_ANSWER % (status, datetimeToString(), content_type, len(body), more) + body


_PHRASES = {
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    413: b"Content Too Large",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    499: b"Client Closed Request",
    503: b"Service Unavailable",
}
"""Reason phrases of such answers that twisted.web does not have."""
_LAST_ANSWER = (
    b"HTTP/1.1 %b\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b"
    b"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
)


def refuse(request: Request, error: SwapError) -> None:
    """Answer `request` with `error`."""
    request.write(head(request, error))
    request.finish()

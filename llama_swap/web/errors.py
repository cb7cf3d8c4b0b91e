"""The one place where an error becomes an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request, datetimeToString
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as NoSuchMethod

from llama_swap.errors import DEFECT, MethodNotAllowed, NotFound, SwapError, Unauthorized
from llama_swap.web.answers import harden
from llama_swap.web.paths import remedy

_log = Logger()
CHALLENGE = b'Basic realm="llama-swap"'
"""Lets a browser ask its user for a key (RFC 7617)."""


def render(error: SwapError, accept: bytes) -> tuple[bytes, bytes]:
    """Return content type and body of an error, for a client that sends `accept`.

    It is JSON that fits both OpenAI's and Anthropic's format, unless the client prefers text or HTML.
    """
    if b"application/json" not in accept:
        if b"text/html" in accept:
            page = f"<!doctype html><title>llama-swap</title><h1>llama-swap</h1><p>{escape(str(error))}</p>\n"
            return b"text/html; charset=utf-8", page.encode()
        if b"text/plain" in accept:
            return b"text/plain; charset=utf-8", f"llama-swap: {error}\n".encode()
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


def last_answer(error: SwapError, accept: bytes) -> bytes:
    """Return an answer with `error`, head included, for a client whose request could not be read completely."""
    content_type, body = render(error, accept)
    challenge = b"WWW-Authenticate: %b\r\n" % CHALLENGE if isinstance(error, Unauthorized) else b""
    status = b"%d %b" % (error.status, _PHRASES[error.status])
    return _LAST_ANSWER % (status, datetimeToString(), content_type, len(body), challenge) + body


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


def refuse_failure(request: Request, failure: Failure) -> None:
    """Answer `request` with the error for `failure`."""
    refuse(request, _as_swap_error(request, failure))


def refuse_head(request: Request, allowed: Iterable[str]) -> None:
    """Refuse HEAD for a GET that starts or stops something; werkzeug's routes would treat it like GET.

    HEAD must change nothing (RFC 9110 §9.2.1): checking links must not unload models.  `allowed` are the methods that
    the route takes.
    """
    if request.method == b"HEAD":
        raise NoSuchMethod(allowed)


def add_to(app: Klein) -> None:
    """Have all failures in `app` answered by this module."""

    def exists(path: str) -> bool:
        return bool(app.url_map.bind("").allowed_methods(path))

    def answer(request: Any, failure: Failure) -> bytes:
        return head(request, _as_swap_error(request, failure, exists))

    app.handle_errors(Exception)(answer)


def _as_swap_error(request: Request, failure: Failure, exists: Callable[[str], bool] = lambda path: False) -> SwapError:
    """Return the error for a failure in a route, or for a request without a route; `exists` tells whether a path has
    one."""
    path = request.path.decode("ascii", "backslashreplace")
    match failure.value:
        case SwapError() as error:
            return error
        case NoSuchMethod(valid_methods=methods):
            allowed = ", ".join(sorted(methods or ()))
            request.setHeader(b"Allow", allowed.encode())
            return MethodNotAllowed(f"{path} takes {allowed}")
        case HTTPException():
            meant = remedy(path, exists)
            return NotFound(f"no page {path} here" + (f": {meant}" if meant else ""))
    _log.failure("a defect of llama-swap, at {path}", failure, path=path)
    return SwapError(DEFECT)

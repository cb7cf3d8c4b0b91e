"""API keys: who may use the proxy.

A client shows its key as the password of Basic credentials (RFC 7617; so browsers can ask for it), as a Bearer token
(RFC 6750; OpenAI's clients), or in `x-api-key` (Anthropic's).
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable
from hmac import compare_digest

from twisted.web.http import Request
from twisted.web.http_headers import Headers

from llama_swap.errors import Unauthorized

OPEN = frozenset({b"/health", b"/wol-health", b"/favicon.ico"})
"""Paths that need no key; monitors and browsers ask for these before anybody could have given them one."""

NO_KEY = (
    "unauthorized: invalid or missing API key; send one of the apiKeys as `Authorization: Bearer KEY`, "
    "as `x-api-key: KEY`, or as the password of Basic authentication"
)


class ApiKeys:
    """Lets requests through that show one of `keys`, and takes it off them: it is nobody's business behind here."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = tuple(key.encode() for key in keys)

    def check(self, request: Request) -> None:
        """Return if `request` may go on.

        @raise Unauthorized: it may not.
        """
        headers = request.requestHeaders
        if self.are_shown(headers):
            self._remove(headers)
        elif request.path not in OPEN:
            raise Unauthorized(NO_KEY)

    def are_shown(self, headers: Headers) -> bool:
        """Whether one of the keys is; how long that takes tells nothing of any of them but its length."""
        shown = _shown(headers)
        known = False
        for key in self._keys:
            known |= compare_digest(shown, key)
        return known

    def _remove(self, headers: Headers) -> None:
        """Remove every field that holds one of the keys."""
        holders = [
            name
            for name, values in headers.getAllRawHeaders()
            for value in values
            if (_credentials(value)[1] if name == b"Authorization" else value) in self._keys
        ]
        for name in holders:
            headers.removeHeader(name)


def _shown(headers: Headers) -> bytes:
    """Return the key that counts: the first of Basic, Bearer and `x-api-key` that says anything."""
    authorization = dict(map(_credentials, reversed(headers.getRawHeaders(b"Authorization", ()))))
    x_api_key = headers.getRawHeaders(b"X-Api-Key", (b"",))[0]
    return authorization.get(b"basic") or authorization.get(b"bearer") or x_api_key


def _credentials(value: bytes) -> tuple[bytes, bytes]:
    """Return the scheme, in lower case, and the key of an `Authorization` field (RFC 9110 §11.4)."""
    scheme, _, key = value.partition(b" ")
    scheme, key = scheme.lower(), key.strip()
    if scheme == b"basic":
        try:
            key = b64decode(key, validate=True).partition(b":")[2]
        except NotBase64:
            key = b""
    return scheme, key

"""API keys: who may use the proxy.

A client sends its key as the password of Basic credentials (RFC 7617; browsers can ask for it), as a Bearer token (RFC
6750; OpenAI's clients), or in `x-api-key` (Anthropic's clients).
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hmac import compare_digest

from attrs import evolve

from llama_swap.errors import Unauthorized
from llama_swap.server.heads import RequestHead
from llama_swap.server.request import SwapRequest

OPEN = frozenset({b"/health", b"/wol-health", b"/favicon.ico"})
"""Paths that need no key: monitors and browsers ask for these without one."""


class ApiKeys:
    """Lets requests through that have one of `keys`, and removes it from them: upstreams must not see it."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._keys = tuple(key.encode() for key in keys)
        self._stripped = lru_cache(maxsize=64)(self._without_keys)  # clients repeat the same few heads

    def check(self, request: SwapRequest) -> None:
        """Let `request` go on, without its key.

        @raise Unauthorized: it has no valid key.
        """
        head = request.head
        if self._is_known(_shown(head.named)):
            request.head = self._stripped(head)
        elif request.path not in OPEN:
            raise Unauthorized(
                "unauthorized: invalid or missing API key; send one of the apiKeys as `Authorization: Bearer KEY`, "
                "as `x-api-key: KEY`, or as the password of Basic authentication"
            )

    def _is_known(self, shown: bytes) -> bool:
        """Compare with every key, in a time that reveals nothing about them but their lengths."""
        known = False
        for key in self._keys:
            known |= compare_digest(shown, key)
        return known

    def _without_keys(self, head: RequestHead) -> RequestHead:
        """Return `head` without the fields that hold one of the keys."""
        holders = {name.lower() for name, value in head.fields if self._holds_key(name.lower(), value)}
        return evolve(
            head,
            fields=tuple(field for field in head.fields if field[0].lower() not in holders),
            named={name: values for name, values in head.named.items() if name not in holders},
        )

    def _holds_key(self, name: bytes, value: bytes) -> bool:
        return (_credentials(value)[1] if name == b"authorization" else value) in self._keys


def _shown(named: Mapping[bytes, Sequence[bytes]]) -> bytes:
    """Return the key of a request: the first of Basic, Bearer and `x-api-key` that is not empty."""
    authorization = dict(map(_credentials, reversed(named.get(b"authorization", ()))))
    x_api_key = named.get(b"x-api-key", (b"",))[0]
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

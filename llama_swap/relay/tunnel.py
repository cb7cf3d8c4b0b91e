"""Upgrades (RFC 9110 §7.8): two connections that leave HTTP together, for WebSocket or anything else.

An answer 101 ends with its connection, and is relayed like any other.  This adds the other direction: what the client
goes on to send after its request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from llama_swap.http.headers import Fields, values_of, words
from llama_swap.relay.connection import UpstreamConnection

_OURS = (b"h2c", b"tls/")


class ClientConnection(Protocol):
    """A client's connection that can leave HTTP."""

    def tunnel(self, take: Callable[[bytes], None]) -> None:
        """Pass to `take` what the client has sent after its request, and whatever it sends from now on."""

    def hold(self, held: bool) -> None:
        """Stop reading what the client sends, or go on.  While it is held, a client that leaves is not noticed."""


def wanted_protocol(fields: Fields) -> bytes | None:
    """Return the protocols that a request asks to change to, as in `Upgrade`; None if it does not ask.

    HTTP/2 and TLS (RFC 7540 §3.2, RFC 2817) concern only the client's own connection, so they are not passed on.
    Java's clients offer HTTP/2 with every request, and uvicorn loses the body of a request that does.
    """
    named = [word.strip() for value in values_of(fields, b"upgrade") for word in value.split(b",")]
    wanted = b", ".join(word for word in named if word and not word.lower().startswith(_OURS))
    return wanted if wanted and b"upgrade" in words(values_of(fields, b"connection")) else None


def is_agreed(wanted: bytes, fields: Fields) -> bool:
    """Whether an answer 101 with these fields changes to what was wanted, and to nothing else."""
    agreed = words(values_of(fields, b"upgrade"))
    return bool(agreed) and agreed <= words([wanted])


def join(request: Any, upstream: UpstreamConnection) -> None:
    """Send to `upstream` what the client of a twisted.web request sends, no faster than `upstream` reads."""
    client: ClientConnection = request.channel
    upstream.be_prompt()
    upstream.transport.registerProducer(_Intake(client), True)
    client.tunnel(upstream.send)


@implementer(IPushProducer)
@frozen
class _Intake:
    """The client, as a producer for the upstream's transport."""

    _client: ClientConnection

    def pauseProducing(self) -> None:
        """The upstream takes no more now."""
        self._client.hold(True)

    def resumeProducing(self) -> None:
        """The upstream has taken everything."""
        self._client.hold(False)

    def stopProducing(self) -> None:
        """The upstream is gone; the relay hears of that itself."""

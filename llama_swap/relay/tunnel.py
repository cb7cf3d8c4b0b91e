"""Upgrades (RFC 9110 §7.8): two connections that leave HTTP together, for WebSocket or anything else.

An answer 101 has no end but that of its connection, and is relayed like any other.  What is added here is the way from
the client to the upstream, which a request does not have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from llama_swap.relay.connection import UpstreamConnection
from llama_swap.relay.headers import Fields

_OURS = (b"h2c", b"tls/")


class ClientConnection(Protocol):
    """A client's connection that can leave HTTP."""

    def tunnel(self, take: Callable[[bytes], None]) -> None:
        """Give `take` what the client has sent behind its request, and whatever it sends from now on."""

    def hold(self, held: bool) -> None:
        """Stop reading what the client sends, or go on.  That it has left shows only when it is read from."""


def wanted_protocol(fields: Fields) -> bytes | None:
    """Return what a request wants to change to, as it says so in `Upgrade`; None if it does not want to.

    HTTP/2 and TLS (RFC 7540 §3.2, RFC 2817) would change only how the client speaks to us, so the upstream does not
    hear of them.  Java's clients offer them with every request, and uvicorn loses the body of a request that does.
    """
    named = [word.strip() for value in _values(fields, b"upgrade") for word in value.split(b",")]
    wanted = b", ".join(word for word in named if word and not word.lower().startswith(_OURS))
    return wanted if wanted and b"upgrade" in _words(_values(fields, b"connection")) else None


def is_agreed(wanted: bytes, fields: Fields) -> bool:
    """Whether an answer 101 with these fields changes to what was wanted, and to nothing else."""
    agreed = _words(_values(fields, b"upgrade"))
    return bool(agreed) and agreed <= _words([wanted])


def join(request: Any, upstream: UpstreamConnection) -> None:
    """Let `upstream` have what the client of a twisted.web request sends, no faster than it takes it."""
    client: ClientConnection = request.channel
    upstream.be_prompt()
    upstream.transport.registerProducer(_Intake(client), True)
    client.tunnel(upstream.send)


@implementer(IPushProducer)
@frozen
class _Intake:
    """The way into a tunnel, as its other end sees it."""

    _client: ClientConnection

    def pauseProducing(self) -> None:
        """The other end takes no more now."""
        self._client.hold(True)

    def resumeProducing(self) -> None:
        """The other end has taken everything."""
        self._client.hold(False)

    def stopProducing(self) -> None:
        """The other end is gone, of which the relay hears too."""


def _values(fields: Fields, wanted: bytes) -> list[bytes]:
    return [value for name, value in fields if name.lower() == wanted]


def _words(listed: list[bytes]) -> set[bytes]:
    return {word.strip().lower() for value in listed for word in value.split(b",")}

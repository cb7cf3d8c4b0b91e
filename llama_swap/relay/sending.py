"""Sends in the reactor turn in which there is something to send.

Twisted's `transport.write` only notes what is to be sent, and sends it in a later turn.  For a stream of small events
that doubles the work for each, and adds the wait.  Where nothing is queued before it, data can go to the socket at
once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.interfaces import IPullProducer
from twisted.internet.tcp import Connection
from zope.interface import implementer

AT_ONCE = 256 * 1024
"""Larger pieces never fit the socket whole, and would be copied for what is left of them."""
PIECES = 4
"""So many of a large body are sent in a row, at most, before others have their turn."""


def send_now(transport: Any, data: bytes) -> None:
    """Write `data` to `transport`, at once if that keeps the order; what the socket does not take is queued as usual.

    Relies on the attributes in which Twisted queues what waits to be sent; `tests/test_relay_sending.py` holds it to
    that.
    """
    if (
        len(data) <= AT_ONCE
        and isinstance(transport, Connection)
        and transport.connected
        and not (transport._tempDataBuffer or transport.dataBuffer)  # noqa: SLF001 -- `has_sent_all`, without a call
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:  # it takes nothing now, or is lost: Twisted finds out which, and tells the protocol
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


@implementer(IPullProducer)
class Upload:
    """Sends a large body, each piece when the socket has taken the one before."""

    def __init__(self, transport: Any, pieces: Iterator[bytes]) -> None:
        self._transport = transport
        self._pieces = pieces
        self.complete = False
        transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """See `IPullProducer.resumeProducing`."""
        transport = self._transport
        for _ in range(PIECES):
            if (piece := self._next()) is None:
                return
            send_now(transport, piece)
            if not has_sent_all(transport):
                return
        if (piece := self._next()) is not None:
            transport.write(piece)  # which asks for more in another turn

    def _next(self) -> bytes | None:
        """Return the next piece; None: it is not for this connection to have one."""
        try:
            piece = next(self._pieces, None)
        except OSError:  # nobody can have this body any more
            self._transport.abortConnection()
            return None
        if piece is None:
            self.complete = True
            self._transport.unregisterProducer()
        return piece

    def stopProducing(self) -> None:
        """See `IPullProducer.stopProducing`."""
        self._pieces = iter(())


def has_sent_all(transport: Any) -> bool:
    """Whether nothing waits to be sent."""
    return not (transport._tempDataBuffer or transport.dataBuffer)  # noqa: SLF001


def has_encrypted_all(transport: Any) -> bool:
    """Whether a transport that speaks TLS holds nothing back; what it has encrypted may still wait to be sent.

    Relies on the attributes in which Twisted keeps the rest, which `tests/test_relay_pool_tls.py` makes sure of.
    """
    return not (transport._appSendBuffer or transport._aggregator._buffer)  # noqa: SLF001

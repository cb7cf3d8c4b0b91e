"""Sends in the turn of the reactor in which there is something to send.

Twisted's `transport.write` only queues data, and sends it in the next turn.  For a stream of small events that doubles
the work for each, and adds a delay.  Where nothing is queued before it, data can go to the socket at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from twisted.internet.interfaces import IPullProducer
from twisted.internet.tcp import Connection
from zope.interface import implementer

AT_ONCE = 256 * 1024
"""Bytes.  Larger data never fits into the socket's buffer as a whole, and the rest would have to be copied."""
PIECES = 4
"""The most pieces of a large body that are sent in a row, before other connections have their turn."""


def send_now(transport: Any, data: bytes) -> None:
    """Write `data` to `transport`, at once if nothing is queued before it; what the socket does not take is queued.

    Relies on the private attributes of Twisted's queue; `tests/test_relay_sending.py` makes sure of them.
    """
    if (
        len(data) <= AT_ONCE
        and isinstance(transport, Connection)
        and transport.connected
        and not (transport._tempDataBuffer or transport.dataBuffer)  # noqa: SLF001 -- `has_sent_all`, without a call
    ):
        try:
            sent = transport.socket.send(data)
        except OSError:  # full, or lost: `write` finds out which, and tells the protocol
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


@implementer(IPullProducer)
class Upload:
    """Sends a large body, each piece when the socket has taken the one before; `complete` once it has taken all."""

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
        """Return the next piece; None at the end, or if the body cannot be read, which ends the connection."""
        try:
            piece = next(self._pieces, None)
        except OSError:  # the spool's file cannot be read
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
    """Whether a TLS transport has encrypted all that was written; some of that may still wait to be sent.

    Relies on private attributes of Twisted's, which `tests/test_relay_pool_tls.py` makes sure of.
    """
    return not (transport._appSendBuffer or transport._aggregator._buffer)  # noqa: SLF001

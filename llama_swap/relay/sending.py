"""Sends in the reactor turn in which there is something to send.

Twisted's `transport.write` only notes what is to be sent, and sends it in a later turn.  For a stream of small events
that doubles the work for each, and adds the wait.  Where nothing is queued before it, data can go to the socket at
once.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection

AT_ONCE = 256 * 1024
"""Larger pieces never fit the socket whole, and would be copied for what is left of them."""


def send_now(transport: Any, data: bytes) -> None:
    """Write `data` to `transport`, at once if that keeps the order; what the socket does not take is queued as usual.

    Relies on the attributes in which Twisted queues what waits to be sent; `tests/test_relay_sending.py` holds it to
    that.
    """
    if len(data) <= AT_ONCE and isinstance(transport, Connection) and transport.connected and has_sent_all(transport):
        try:
            sent = transport.socket.send(data)
        except OSError:  # it takes nothing now, or is lost: Twisted finds out which, and tells the protocol
            sent = 0
        if sent == len(data):
            return
        data = data[sent:]
    transport.write(data)


def has_sent_all(transport: Any) -> bool:
    """Whether nothing waits to be sent."""
    return not (transport._tempDataBuffer or transport.dataBuffer)  # noqa: SLF001

"""One TCP connection to an upstream, which carries one exchange at a time."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from typing import Any
from typing import Protocol as TypingProtocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from llama_swap.relay.headers import Body
from llama_swap.relay.sending import Upload, has_sent_all, send_now

_BYTES_ACKED = struct.Struct("=120xQ")
"""Where Linux's `struct tcp_info` (linux/tcp.h) has `tcpi_bytes_acked`."""


class Carried(TypingProtocol):
    """What a connection carries."""

    def received(self, data: bytes) -> None:
        """Bytes came from the upstream."""

    def lost(self, *, cleanly: bool, delivered: bool, reason: Failure) -> None:
        """The connection ended, `cleanly` if the upstream closed it; it may have got the request if `delivered`."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class UpstreamConnection(Protocol):
    """Carries an exchange, and between two of them waits in its pool.

    As a producer it is paused by whoever cannot take more of the answer.
    """

    transport: Any

    def __init__(self, idle_ended: Callable[[], None]) -> None:
        self._idle_ended = idle_ended  # told when the connection ends, or is of no more use, while it carries nothing
        self._carried: Carried | None = None
        self._upload: Upload | None = None
        self._watch: select.poll | None = None  # asks the kernel what Twisted may not have read yet
        self._paused = False
        self._sent = 0
        self._sent_before = 0  # for exchanges that are over

    def carry(self, carried: Carried, *parts: bytes) -> None:
        """Send a request, and hand what comes to `carried` until `release`."""
        self._carried = carried
        self._sent_before = self._sent
        if len(parts) > 1:
            self.be_prompt()
        for part in parts:
            self.send(part)

    def send(self, data: bytes) -> None:
        """Send more."""
        self._sent += len(data)
        send_now(self.transport, data)

    def carry_large(self, carried: Carried, head: bytes, body: Body) -> None:
        """Send a request whose body is not in memory, no faster than the upstream reads; else as `carry`."""
        self.be_prompt()
        self.carry(carried, head)
        self._sent += len(body)
        self._upload = Upload(self.transport, body.pieces())

    def be_prompt(self) -> None:
        """What is written in more than one piece must not wait for the upstream to acknowledge those before."""
        self.transport.setTcpNoDelay(True)

    def release(self) -> bool:
        """The exchange is over; return whether the connection could carry another."""
        self._carried = None
        if self._paused:
            self.resumeProducing()
        transport = self.transport
        upload, self._upload = self._upload, None
        if upload is not None and not upload.complete:  # the answer came before the upstream had seen all
            return False
        is_plain = isinstance(transport.getHandle(), socket.socket)  # what lies below TLS cannot be asked
        return is_plain and bool(transport.connected) and has_sent_all(transport)

    def abort(self) -> None:
        """End the connection.  Nobody is told."""
        self._carried = None
        self._idle_ended = _nobody
        self.transport.abortConnection()

    def leave(self) -> None:
        """End the connection without taking anything back that was sent.  Nobody is told."""
        self._carried = None
        self._idle_ended = _nobody
        self.transport.unregisterProducer()
        if has_sent_all(self.transport):
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()

    def is_open(self) -> bool:
        """Whether the upstream has left it as it is."""
        if self._watch is None:
            self._watch = select.poll()
            self._watch.register(self.transport.getHandle(), select.POLLIN)
        return not self._watch.poll(0)  # else it is closed, or says something that nobody asked for

    # -- as a producer ----------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Read no more of the answer for now.

        Once it is over that is no more to be wished for: what the last of it overfills does not concern the next one.
        """
        if self._carried is not None:
            self._paused = True
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._paused = False
        self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Nobody wants the rest."""
        self.transport.stopProducing()

    # -- from Twisted -----------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self._carried is not None:
            self._carried.received(data)
        else:
            self._idle_ended()
            self.abort()

    def readConnectionLost(self) -> None:
        """The upstream closed its half.  While the socket is there, the kernel can tell what became of our request."""
        self._lost(cleanly=True, delivered=self._bytes_acked() > self._sent_before, reason=connectionDone)
        self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Our half is never closed alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._lost(cleanly=isinstance(reason.value, ConnectionDone), delivered=True, reason=reason)

    def _lost(self, *, cleanly: bool, delivered: bool, reason: Failure) -> None:
        carried, self._carried = self._carried, None
        if carried is not None:
            self._idle_ended = _nobody
            carried.lost(cleanly=cleanly, delivered=delivered, reason=reason)
        else:
            self._idle_ended()

    def _bytes_acked(self) -> int:
        """Return how many bytes the upstream's kernel has acknowledged on this connection."""
        try:
            info = self.transport.getHandle().getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size)
            return int(_BYTES_ACKED.unpack(info)[0]) - 1  # Linux counts the SYN
        except (OSError, AttributeError, struct.error):
            return 1 << 62  # not to be known here: as if all had arrived


def _nobody() -> None:
    """Nobody waits to be told."""

"""One TCP connection to an upstream, which carries one exchange at a time."""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from typing import Protocol as TypingProtocol

from attrs import frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from llama_swap.relay.headers import Body
from llama_swap.relay.sending import Upload, has_encrypted_all, has_sent_all, send_now

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
        self._tcp: Any = None  # the transport, or that below it which carries its TLS
        self._watch: select.poll | None = None  # asks the kernel what Twisted may not have read yet
        self._acks: Acks | None = None  # of a request over TLS, if its connection was used before
        self._paused = False
        self._sent = 0
        self._sent_before = 0  # for exchanges that are over

    def carry(self, carried: Carried, *parts: bytes) -> None:
        """Send a request, and hand what comes to `carried` until `release`."""
        self._carried = carried
        if self._sent and self._tcp is not self.transport:
            self._acks = Acks.of(self._tcp.getHandle())
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

    def acknowledge(self) -> None:
        """Have the kernel acknowledge what came.

        After a request it waits up to 40 ms for something to send along with that (RFC 1122 §4.2.3.2).  For so long an
        upstream that sends its head alone, and small pieces only when those before are acknowledged (RFC 896), as most
        do if nobody tells them not to, would keep the body back.  Only of what answers its first words, it waits with
        none.
        """
        if not self._sent_before and self._tcp is self.transport:
            return
        sock = self._tcp.getHandle()
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def release(self) -> bool:
        """The exchange is over; return whether the connection could carry another."""
        self._carried = None
        if self._paused:
            self.resumeProducing()
        transport = self.transport
        upload, self._upload = self._upload, None
        if upload is not None and not upload.complete:  # the answer came before the upstream had seen all
            return False
        self._forget_acks()
        if not isinstance(self._tcp.getHandle(), socket.socket):
            return False  # what becomes of it could not be asked
        is_encrypted = transport is self._tcp or has_encrypted_all(transport)
        return bool(transport.connected) and is_encrypted and has_sent_all(self._tcp)

    def abort(self) -> None:
        """End the connection.  Nobody is told."""
        self._carried = None
        self._idle_ended = _nobody
        self._forget_acks()
        self.transport.abortConnection()

    def dismiss(self) -> None:
        """End the connection, which carries nothing, as one does that is not needed any more.

        A reset alone would be a failure to the server: those on Python's `http.server` print a traceback for each.  It
        follows nevertheless, so that no port of ours stays taken.
        """
        tcp = self._tcp  # which has no socket once the connection is lost
        if self.transport is tcp and tcp.connected and isinstance(sock := tcp.getHandle(), socket.socket):
            with suppress(OSError):  # it is closed already
                sock.shutdown(socket.SHUT_WR)
        self.abort()

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
            self._watch.register(self._tcp.getHandle(), select.POLLIN)
        # Else it is closed, or says something that nobody asked for; within TLS, that it will be closed.
        return not (self._tcp.disconnecting or self._watch.poll(0))

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

    def connectionMade(self) -> None:
        """It is there."""
        self._tcp = getattr(self.transport, "transport", self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self._carried is not None:
            self._carried.received(data)
        else:
            self._idle_ended()
            self.abort()

    def readConnectionLost(self) -> None:
        """The upstream closed its half.  While the socket is there, the kernel can tell what became of our request."""
        acked = bytes_acked(self.transport.getHandle())
        delivered = acked is None or acked - 1 > self._sent_before  # Linux counts the SYN
        self._lost(cleanly=True, delivered=delivered, reason=connectionDone)
        self.transport.abortConnection()

    def writeConnectionLost(self) -> None:
        """Our half is never closed alone."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        unheard = self._acks is not None and self._was_told_to_end() and not self._acks.came()
        self._forget_acks()
        self._lost(cleanly=isinstance(reason.value, ConnectionDone), delivered=not unheard, reason=reason)

    def _lost(self, *, cleanly: bool, delivered: bool, reason: Failure) -> None:
        carried, self._carried = self._carried, None
        if carried is not None:
            self._idle_ended = _nobody
            carried.lost(cleanly=cleanly, delivered=delivered, reason=reason)
        else:
            self._idle_ended()

    def _was_told_to_end(self) -> bool:
        """Whether the upstream has said, within TLS, that it ends the connection; a mere reset acknowledges nothing."""
        from OpenSSL.SSL import RECEIVED_SHUTDOWN

        return bool(self.transport.getHandle().get_shutdown() & RECEIVED_SHUTDOWN)

    def _forget_acks(self) -> None:
        if self._acks is not None:
            self._acks.close()
            self._acks = None


@frozen
class Acks:
    """Whether an upstream's kernel acknowledges what is sent on a connection from now on.

    That can still be asked when Twisted has closed its socket, which with TLS it does before it tells anybody.
    """

    _twin: socket.socket
    _before: int

    @classmethod
    def of(cls, sock: socket.socket) -> Acks | None:
        """Begin to look at the connection of `sock`; None: that cannot be done."""
        before = bytes_acked(sock)
        if before is None:
            return None
        try:
            return cls(sock.dup(), before)
        except OSError:  # too many files are open
            return None

    def came(self) -> bool:
        """Whether any have come, as far as can be known.  What was sent before may be among what they are for."""
        acked = bytes_acked(self._twin)
        return acked is None or acked > self._before

    def close(self) -> None:
        """No more is to be known.  The connection stays open until this is called."""
        self._twin.close()


def bytes_acked(sock: socket.socket) -> int | None:
    """Return how many bytes the other end's kernel has acknowledged; None: that is not to be known here."""
    try:
        return int(_BYTES_ACKED.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size))[0])
    except (OSError, AttributeError, struct.error):
        return None


def _nobody() -> None:
    """Nobody waits to be told."""

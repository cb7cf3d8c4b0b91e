"""One TCP connection to an upstream, which carries one exchange at a time."""

from __future__ import annotations

import os
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

from llama_swap.http.headers import Body
from llama_swap.net.established import Established
from llama_swap.relay.sending import Upload, has_encrypted_all, has_sent_all, send_now

_BYTES_ACKED = struct.Struct("=120xQ")
"""`tcpi_bytes_acked` in Linux's `struct tcp_info` (linux/tcp.h)."""


class Carried(TypingProtocol):
    """What a connection carries."""

    def received(self, data: bytes) -> None:
        """Bytes came from the upstream."""

    def lost(self, *, cleanly: bool, delivered: bool, reason: Failure) -> None:
        """The connection ended, `cleanly` if the upstream closed it; it may have got the request if `delivered`."""


@implementer(IHalfCloseableProtocol, IPushProducer)
class UpstreamConnection(Protocol):
    """Carries one exchange after another, and waits in its pool in between.

    As a producer, it is paused by the sink that cannot take more of the answer.
    """

    transport: Any

    def __init__(self, idle_ended: Callable[[], None]) -> None:
        self._idle_ended = idle_ended  # told when the connection ends, or is of no more use, while it carries nothing
        self._carried: Carried | None = None
        self._upload: Upload | None = None
        self._tcp: Any = None  # the transport, or with TLS the one below it
        self._watch: select.poll | None = None  # asks the kernel for what Twisted has not read yet
        self._acks: Acks | None = None  # of a request over TLS, if its connection was used before
        self._paused = False
        self._sent = 0
        self._sent_before = 0  # bytes, for exchanges that are over

    def carry(self, carried: Carried, *parts: bytes) -> None:
        """Send a request, given in `parts`, and hand what comes back to `carried` until `release`."""
        self._carried = carried
        if self._sent and self._tcp is not self.transport:
            self._acks = Acks.of(self._tcp.getHandle())
        self._sent_before = self._sent
        if len(parts) > 1:
            self.be_prompt()
        for part in parts:
            self.send(part)

    def send(self, data: bytes) -> None:
        """Send more of the request, or into the tunnel that it has become."""
        self._sent += len(data)
        send_now(self.transport, data)

    def carry_large(self, carried: Carried, head: bytes, body: Body) -> None:
        """Do what `carry` does with a body that is not in memory; it is sent no faster than the upstream reads."""
        self.be_prompt()
        self.carry(carried, head)
        self._sent += len(body)
        self._upload = Upload(self.transport, body.pieces())

    def be_prompt(self) -> None:
        """Set `TCP_NODELAY`: what is written in pieces must not wait until those before are acknowledged (RFC 896)."""
        self.transport.setTcpNoDelay(True)

    def acknowledge(self) -> None:
        """Have the kernel acknowledge at once what came.

        Otherwise it delays that by up to 40 ms (RFC 1122 §4.2.3.2), except for the first answer on a connection.  An
        upstream that sends the head of its answer by itself, without `TCP_NODELAY`, keeps the body back until the head
        is acknowledged (Nagle's algorithm, RFC 896).
        """
        if not self._sent_before and self._tcp is self.transport:
            return
        sock = self._tcp.getHandle()
        if isinstance(sock, socket.SocketType):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    @property
    def has_sent_request(self) -> bool:
        """Whether nothing is left of the request's body that has not been read."""
        return self._upload is None or self._upload.complete

    def release(self) -> bool:
        """The exchange is over; return whether the connection can carry another."""
        self._carried = None
        if self._paused:
            self.resumeProducing()
        transport = self.transport
        if not self.has_sent_request:  # the answer came before the upstream had seen all
            return False
        self._upload = None
        self._forget_acks()
        if not isinstance(self._tcp.getHandle(), socket.SocketType):
            return False  # `is_open` could not ask the kernel about it
        is_encrypted = transport is self._tcp or has_encrypted_all(transport)
        return bool(transport.connected) and is_encrypted and has_sent_all(self._tcp)

    def abort(self) -> None:
        """End the connection.  Nobody is told."""
        self._carried = None
        self._idle_ended = _nobody
        self._forget_acks()
        if self._upload is not None:  # within TLS, it would be asked for more before the connection is gone
            self._upload.stopProducing()
        self.transport.abortConnection()

    def dismiss(self) -> None:
        """End a connection that carries nothing: first with a FIN, then with a reset.

        Servers on Python's `http.server` print a traceback for each reset that comes alone.  The reset follows
        nevertheless, so that no port of ours stays in TIME_WAIT.
        """
        tcp = self._tcp  # which has no socket once the connection is lost
        if self.transport is tcp and tcp.connected and isinstance(sock := tcp.getHandle(), socket.SocketType):
            _send_fin(sock)
        self.abort()

    def close(self) -> None:
        """Do what `dismiss` does, but at once, and in half the time, right after a successful `release`."""
        if isinstance(self.transport, Established):
            _send_fin(self.transport.socket)
            self.transport.reset()
        else:
            self.dismiss()

    def leave(self) -> None:
        """End a tunnel: close if all was sent, so that it arrives; else abort.  Nobody is told."""
        self._carried = None
        self._idle_ended = _nobody
        self.transport.unregisterProducer()
        if has_sent_all(self.transport):
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()

    def is_open(self) -> bool:
        """Whether an idle connection is still open, and nothing has come over it."""
        if self._watch is None:
            self._watch = select.poll()
            self._watch.register(self._tcp.getHandle(), select.POLLIN)
        # Readable: closed, or data that nobody asked for; with TLS, perhaps the announcement that it will be closed.
        return not (self._tcp.disconnecting or self._watch.poll(0))

    # -- as a producer ----------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Read no more of the answer for now.

        Ignored once the exchange is over: a client too slow for the end of one answer must not pause the next one.
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
        """The connection is established."""
        self._tcp = getattr(self.transport, "transport", self.transport)

    def dataReceived(self, data: bytes) -> None:
        """Bytes came."""
        if self._carried is not None:
            self._carried.received(data)
        else:
            self._idle_ended()
            self.abort()

    def readConnectionLost(self) -> None:
        """The upstream closed its half.  While the socket is open, the kernel knows whether our request arrived."""
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
        """Whether TLS's close_notify has come; if not, missing acknowledgements prove nothing."""
        from OpenSSL.SSL import RECEIVED_SHUTDOWN

        return bool(self.transport.getHandle().get_shutdown() & RECEIVED_SHUTDOWN)

    def _forget_acks(self) -> None:
        if self._acks is not None:
            self._acks.close()
            self._acks = None


@frozen
class Acks:
    """Tells whether the upstream's kernel has acknowledged anything since this was made.

    It duplicates the socket, because with TLS, Twisted closes its own before it reports the end of the connection.
    """

    _twin: socket.socket
    _before: int

    @classmethod
    def of(cls, sock: socket.SocketType) -> Acks | None:
        """Begin to watch the connection of `sock`; None if that is not possible."""
        before = bytes_acked(sock)
        if before is None:
            return None
        try:
            return cls(socket.socket(fileno=os.dup(sock.fileno())), before)
        except OSError:  # no file descriptor is left
            return None

    def came(self) -> bool:
        """Whether any acknowledgement has come, or may have; it may be for what was sent before."""
        acked = bytes_acked(self._twin)
        return acked is None or acked > self._before

    def close(self) -> None:
        """Stop watching.  The connection stays open until this is called."""
        self._twin.close()


def bytes_acked(sock: socket.SocketType) -> int | None:
    """Return how many bytes the other end's kernel has acknowledged; None if this system does not tell."""
    try:
        return int(_BYTES_ACKED.unpack(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.size))[0])
    except (OSError, AttributeError, struct.error):
        return None


def _send_fin(sock: socket.SocketType) -> None:
    with suppress(OSError):  # it is closed already
        sock.shutdown(socket.SHUT_WR)


def _nobody() -> None:
    """Nobody waits to be told."""

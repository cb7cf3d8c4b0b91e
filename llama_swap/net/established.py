"""The transport of a connection that exists already, be it accepted or made."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv6Address
from twisted.internet.interfaces import IProtocol
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.tcp import Server


class Established(Server):
    """Twisted's transport for accepted connections, without what costs time: the two log strings that Twisted builds
    for each, making a socket non-blocking that already is, and calls on the way of what is read.

    `peer` is the address of the other end, as the socket module gives it.
    """

    logstr = "-"

    def __init__(  # noqa: PLR0917 -- as Twisted calls it
        self,
        sock: socket.SocketType,
        protocol: IProtocol,
        peer: tuple[Any, ...],
        server: Any,
        sessionno: int,
        reactor: Any,
    ) -> None:
        """Set the attributes that Twisted's three classes set; `tests/test_net_established.py` compares them."""
        self.reactor = reactor
        self._tempDataBuffer = []
        self._tempDataLen = 0
        self.socket = sock  # type: ignore[assignment]  # Twisted needs no more of it
        if sock.gettimeout() != 0:
            sock.setblocking(False)
        self.fileno = sock.fileno
        self.protocol = protocol
        if len(peer) != 2:
            self._addressType = IPv6Address
        self.server = server
        self.client = peer
        self.sessionno = sessionno
        self.hostname = peer[0]
        self.connected = 1
        reactor.addReader(self)

    def doRead(self) -> Any:  # noqa: N802  # Twisted's name
        """Pass on what has come; return why the connection has ended, if it has."""
        try:
            data = self.socket.recv(self.bufferSize)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None

    def reset(self) -> None:
        """Close at once; what was not sent is lost, and the other end sees a reset.

        `abortConnection` does so in the next turn of the reactor, at several times the cost.  Unlike there, the
        protocol is not told; and while it is being told of something, that must be data.
        """
        self.stopReading()
        self.stopWriting()
        self.doRead = self.doWrite = _nothing  # type: ignore[method-assign]  # the reactor may call either once more
        self.connected, self.disconnected = 0, 1
        self._closeSocket(orderly=False)
        del self.protocol, self.socket, self.fileno

    def __repr__(self) -> str:
        return f"<connection to {self.hostname}>"


def _nothing() -> None:
    pass

"""The transport of a connection that exists already, be it accepted or made."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv6Address
from twisted.internet.interfaces import IProtocol
from twisted.internet.tcp import Server


class Established(Server):
    """What Twisted calls a server's transport, without the two descriptions that Twisted writes of each, and without
    telling a socket a second time that it must not block.

    `peer` is the address of the other end, as sockets have it.
    """

    logstr = "-"

    def __init__(  # noqa: PLR0917 -- as Twisted calls it
        self,
        sock: socket.socket,
        protocol: IProtocol,
        peer: tuple[Any, ...],
        server: Any,
        sessionno: int,
        reactor: Any,
    ) -> None:
        """Set what Twisted's three classes set; `tests/test_net_established.py` compares them."""
        self.reactor = reactor
        self._tempDataBuffer = []
        self._tempDataLen = 0
        self.socket = sock
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

    def __repr__(self) -> str:
        return f"<connection to {self.hostname}>"

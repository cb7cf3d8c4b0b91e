"""Connecting to servers on this machine, in one step.

Twisted connects in two turns of the reactor, with a name lookup that looks nothing up, a timeout and a wait for the
socket to become writable.  Over the loopback device the kernel knows the outcome before `connect` returns.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import getConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.tcp import Server
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
@frozen
class LoopbackEndpoint:
    """Connects to a loopback address; where that takes longer than a moment, `patient` does it."""

    _reactor: Any
    _peer: IPv4Address | IPv6Address
    _patient: IStreamClientEndpoint

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        family = socket.AF_INET if isinstance(self._peer, IPv4Address) else socket.AF_INET6
        address = (self._peer.host, self._peer.port)
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            return _failed(error.errno)
        outcome = sock.connect_ex(address)
        if outcome == errno.EINPROGRESS:  # what has become of it shows when it is asked again
            outcome = sock.connect_ex(address)
        if outcome in (0, errno.EISCONN) and sock.getsockname()[:2] != address:  # TCP can meet itself
            return self._connected(sock, factory)
        sock.close()
        if outcome == errno.EALREADY:  # the server's queue is full
            return self._patient.connect(factory)
        return _failed(outcome or errno.ECONNREFUSED)

    def _connected(self, sock: socket.socket, factory: IProtocolFactory) -> Deferred[IProtocol]:
        protocol = factory.buildProtocol(self._peer)
        assert protocol is not None, "the relay's factories refuse nobody"
        transport = _Transport(sock, protocol, (self._peer.host, self._peer.port), None, 0, self._reactor)  # type: ignore[arg-type]
        protocol.makeConnection(transport)
        return succeed(protocol)


class _Transport(Server):
    """What Twisted calls a server's transport is that of any socket which is connected already."""

    def __repr__(self) -> str:
        return f"<{self.logstr}>"


def _failed(code: int | None) -> Deferred[Any]:
    return fail(getConnectError((code, os.strerror(code or 0))))

"""Connecting to servers on this machine, in one step.

Twisted connects in two turns of the reactor, with a name lookup that looks nothing up, a timeout and a wait for the
socket to become writable.  Over the loopback device the kernel knows the outcome before `connect` returns.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import getConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from llama_swap.net.established import Established


@implementer(IStreamClientEndpoint)
@define
class LoopbackEndpoint:
    """Connects to a loopback address; where that takes longer than a moment, `patient` does it.

    All that is wished for in one turn of the reactor is done at its end: first every connection is made, then what is
    to be said over each.  When many requests come at once, their server wakes up once for all of them; woken for each,
    it would fall asleep in between, and to wake another processor costs more than to connect.
    """

    _reactor: Any
    _peer: IPv4Address | IPv6Address
    _patient: IStreamClientEndpoint
    _at_end_of_turn: Callable[[Callable[[], object]], object] = field(init=False)
    _wishes: list[tuple[Deferred[Any], IProtocolFactory]] = field(factory=list, init=False)

    @_at_end_of_turn.default
    def _(self) -> Callable[[Callable[[], object]], object]:
        """Other reactors than ours know no end of a turn; there, the beginning of the next one will do."""
        return getattr(self._reactor, "at_end_of_turn", None) or partial(self._reactor.callLater, 0)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        if not self._wishes:
            self._at_end_of_turn(self._connect_all)
        connecting: Deferred[Any] = Deferred()
        self._wishes.append((connecting, factory))
        return connecting

    def _connect_all(self) -> None:
        wishes, self._wishes = [wish for wish in self._wishes if not wish[0].called], []  # the others were cancelled
        for connecting, factory, made in [(*wish, self._made(wish[1])) for wish in wishes]:
            if made is not None:
                _tell(connecting, made)
            else:
                self._patient.connect(factory).addBoth(partial(_tell, connecting))

    def _made(self, factory: IProtocolFactory) -> Any:
        """Return a protocol that is connected, or why there is none; None if that shows later.

        Whatever goes wrong is returned rather than raised: others have wishes, too.
        """
        sock = transport = None
        try:
            sock = self._socket()
            if sock is None:
                return None
            protocol = factory.buildProtocol(self._peer)
            assert protocol is not None, "the relay's factories refuse nobody"
            transport = Established(sock, protocol, (self._peer.host, self._peer.port), None, 0, self._reactor)
            protocol.makeConnection(transport)
        except Exception:  # noqa: BLE001 -- no more room in epoll, for example
            if transport is not None:
                transport.abortConnection()
            elif sock is not None:
                sock.close()
            return Failure()
        return protocol

    def _socket(self) -> socket.socket | None:
        """Return a connected socket; None: the server's queue is full.

        @raise ConnectError: there is none.
        """
        address = (self._peer.host, self._peer.port)
        family = socket.AF_INET if isinstance(self._peer, IPv4Address) else socket.AF_INET6
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise getConnectError((error.errno, error.strerror)) from error
        outcome = sock.connect_ex(address)
        if outcome == errno.EINPROGRESS:  # what has become of it shows when it is asked again
            outcome = sock.connect_ex(address)
        if outcome in (0, errno.EISCONN):
            if sock.getsockname()[:2] != address:
                return sock
            outcome = errno.ECONNREFUSED  # TCP can meet itself
        sock.close()
        if outcome == errno.EALREADY:
            return None
        raise getConnectError((outcome, os.strerror(outcome)))


def _tell(connecting: Deferred[Any], made: Any) -> None:
    """Tell who waits what has come of it; if that is nobody any more, a connection is closed again."""
    if not connecting.called:
        connecting.callback(made)
    elif not isinstance(made, Failure):
        made.transport.abortConnection()

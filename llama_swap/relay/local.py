"""Connecting to servers on this machine, in one step.

Twisted takes two turns of the reactor to connect, with a name lookup for nothing, a timer, and a wait for the socket to
become writable.  Over the loopback device, the kernel knows the outcome before `connect` returns.

Unless the server's listen queue is full: Python's servers and older cpp-httplib, among others, have one of five.  The
kernel then drops further SYNs, and sends them again after one second, three, seven.  But a server that works accepts
within a millisecond; so connecting is tried again here after that.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.error import getConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from llama_swap.net.established import Established

FIRST_PAUSE = 0.001
LONGEST_PAUSE = 0.02
"""Seconds until a server whose queue was full is tried again, which costs some 50 µs."""
CONNECTED = (0, errno.EISCONN)


class _Wish(NamedTuple):
    connecting: Deferred[Any]
    factory: IProtocolFactory
    until: float


@implementer(IStreamClientEndpoint)
@define
class LoopbackEndpoint:
    """Connects to a loopback address; while the server's queue is full, for up to `timeout` seconds, first come, first
    served.

    All connections asked for in one turn of the reactor are made at its end, and only then are their requests sent.  So
    the server wakes up once for many requests; if it slept in between, waking it, on another processor, would cost more
    than to connect.
    """

    _reactor: Any
    _peer: IPv4Address | IPv6Address
    _timeout: float
    _at_end_of_turn: Callable[[Callable[[], object]], object] = field(init=False)
    _wishes: list[_Wish] = field(factory=list, init=False)
    """As long as there are any, a call of `_connect_all` is scheduled."""
    _asking: socket.socket | None = field(default=None, init=False)
    """A socket that is still connecting: the queue is full, or the kernel was only slow to say that it is connected."""
    _pause: float = field(default=FIRST_PAUSE, init=False)

    @_at_end_of_turn.default
    def _(self) -> Callable[[Callable[[], object]], object]:
        """Reactors other than ours have no end of a turn; there, the beginning of the next one has to do."""
        return getattr(self._reactor, "at_end_of_turn", None) or partial(self._reactor.callLater, 0)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        if not self._wishes:
            self._at_end_of_turn(self._connect_all)
        connecting: Deferred[Any] = Deferred()
        self._wishes.append(_Wish(connecting, factory, self._reactor.seconds() + self._timeout))
        return connecting

    def _connect_all(self) -> None:
        wishes = [wish for wish in self._wishes if not wish.connecting.called]  # the others were cancelled
        outcomes = []
        for wish in wishes:
            made = self._made(wish.factory)
            if made is None:
                if self._reactor.seconds() < wish.until:
                    break
                made = Failure(TimedOut())
            outcomes.append((wish.connecting, made))
        self._wishes = wishes[len(outcomes) :]
        if self._wishes:
            self._pause = FIRST_PAUSE if outcomes else min(2 * self._pause, LONGEST_PAUSE)
            self._reactor.callLater(self._pause, self._connect_all)
        else:
            self._stop_asking()
        for connecting, made in outcomes:
            _tell(connecting, made)

    def _stop_asking(self) -> None:
        self._pause = FIRST_PAUSE
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def _made(self, factory: IProtocolFactory) -> Any:
        """Return a connected protocol, or a Failure; None: the server's queue is full.

        Errors are returned, not raised: the other wishes must be tried nevertheless.
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

        @raise ConnectError: connecting failed.
        """
        address = (self._peer.host, self._peer.port)
        asking, self._asking = self._asking, None
        if asking is not None:
            if asking.connect_ex(address) in CONNECTED:
                return asking
            asking.close()
        family = socket.AF_INET if isinstance(self._peer, IPv4Address) else socket.AF_INET6
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise getConnectError((error.errno, error.strerror)) from error
        outcome = sock.connect_ex(address)
        if outcome == errno.EINPROGRESS:  # a second call returns the outcome
            outcome = sock.connect_ex(address)
        if outcome in CONNECTED:
            if sock.getsockname()[:2] != address:
                return sock
            outcome = errno.ECONNREFUSED  # it connected to itself (simultaneous open, RFC 9293 §3.5)
        if outcome == errno.EALREADY:
            self._asking = sock
            return None
        sock.close()
        raise getConnectError((outcome, os.strerror(outcome)))


def _tell(connecting: Deferred[Any], made: Any) -> None:
    """Give the outcome to whoever waits for it; if nobody does any more, close the connection."""
    if not connecting.called:
        connecting.callback(made)
    elif not isinstance(made, Failure):
        made.transport.abortConnection()

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
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Protocol

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, getConnectError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from llama_swap.net.established import Established

FIRST_PAUSE = 0.001
LONGEST_PAUSE = 0.02
"""Seconds until a server whose queue was full is tried again, which costs some 50 µs."""
CONNECTED = (0, errno.EISCONN)
NO_SUCH_NETWORK = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH})
"""The errors of connecting to ::1 where there is no IPv6, as in many containers."""

_Peer = IPv4Address | IPv6Address


class Waiting(Protocol):
    """Who waits for a connection."""

    def connected(self, connection: Any) -> None:
        """The connection, made by the factory that was given."""

    def unreachable(self, failure: Failure) -> None:
        """There will be none."""


class Attempt(Protocol):
    """A connection that is being made."""

    def cancel(self) -> None:
        """Nobody wants it any more."""


class _Wish:
    """An `Attempt` that waits for the end of the turn, or for room in the server's queue."""

    __slots__ = ("factory", "until", "waiting")

    def __init__(self, factory: IProtocolFactory, waiting: Waiting, until: float) -> None:
        self.factory = factory
        self.waiting: Waiting | None = waiting
        """None: it was cancelled."""
        self.until = until

    def cancel(self) -> None:
        self.waiting = None


@frozen
class _Firing:
    """Fires a Deferred, for who waits with one."""

    _connecting: Deferred[Any]

    def connected(self, connection: Any) -> None:
        self._connecting.callback(connection)

    def unreachable(self, failure: Failure) -> None:
        self._connecting.errback(failure)


@implementer(IStreamClientEndpoint)
@define
class LoopbackEndpoint:
    """Connects to a loopback address; while the server's queue is full, for up to `timeout` seconds, first come, first
    served.

    Of several addresses, each is asked if those before it have refused.  The error is then that of the last one whose
    family this machine has.

    All connections asked for in one turn of the reactor are made at its end, and only then are their requests sent.  So
    the server wakes up once for many requests; if it slept in between, waking it, on another processor, would cost more
    than to connect.
    """

    _log: ClassVar[Logger] = Logger()

    _reactor: Any
    _peers: Sequence[_Peer]
    _timeout: float
    _at_end_of_turn: Callable[[Callable[[], object]], object] = field(init=False)
    _wishes: list[_Wish] = field(factory=list, init=False)
    """As long as there are any, a call of `_connect_all` is scheduled."""
    _asking: tuple[socket.SocketType, _Peer] | None = field(default=None, init=False)
    """A socket that is still connecting: the queue is full, or the kernel was only slow to say that it is connected."""
    _pause: float = field(default=FIRST_PAUSE, init=False)

    @_at_end_of_turn.default
    def _(self) -> Callable[[Callable[[], object]], object]:
        """Reactors other than ours have no end of a turn; there, the beginning of the next one has to do."""
        return getattr(self._reactor, "at_end_of_turn", None) or partial(self._reactor.callLater, 0)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint.connect`."""
        connecting: Deferred[Any] = Deferred(lambda _: attempt.cancel())
        attempt = self.ask(factory, _Firing(connecting))
        return connecting

    def ask(self, factory: IProtocolFactory, waiting: Waiting) -> Attempt:
        """Do the same without a Deferred: `waiting` is told, at the end of this turn or later."""
        if not self._wishes:
            self._at_end_of_turn(self._connect_all)
        wish = _Wish(factory, waiting, self._reactor.seconds() + self._timeout)
        self._wishes.append(wish)
        return wish

    def _connect_all(self) -> None:
        wishes = [wish for wish in self._wishes if wish.waiting is not None]  # the others were cancelled
        outcomes = []
        for wish in wishes:
            made = self._made(wish.factory)
            if made is None:
                if self._reactor.seconds() < wish.until:
                    break
                made = Failure(TimedOut())
            outcomes.append((wish, made))
        self._wishes = wishes[len(outcomes) :]
        if self._wishes:
            self._pause = FIRST_PAUSE if outcomes else min(2 * self._pause, LONGEST_PAUSE)
            self._reactor.callLater(self._pause, self._connect_all)
        else:
            self._stop_asking()
        for wish, made in outcomes:
            try:
                _tell(wish, made)
            except Exception:  # noqa: BLE001 -- the others must be told nevertheless
                self._log.failure("a defect of llama-swap, in asking an upstream")

    def _stop_asking(self) -> None:
        self._pause = FIRST_PAUSE
        if self._asking is not None:
            self._asking[0].close()
            self._asking = None

    def _made(self, factory: IProtocolFactory) -> Any:
        """Return a connected protocol, or a Failure; None: the server's queue is full.

        Errors are returned, not raised: the other wishes must be tried nevertheless.
        """
        sock = transport = None
        try:
            found = self._socket()
            if found is None:
                return None
            sock, peer = found
            protocol = factory.buildProtocol(peer)
            assert protocol is not None, "the relay's factories refuse nobody"
            transport = Established(sock, protocol, (peer.host, peer.port), None, 0, self._reactor)
            protocol.makeConnection(transport)
        except ConnectError as error:  # with a traceback, frames would hold it, and it them, with the request
            return Failure(error.with_traceback(None))
        except Exception:  # noqa: BLE001 -- no more room in epoll, for example
            if transport is not None:
                transport.abortConnection()
            elif sock is not None:
                sock.close()
            return Failure()
        return protocol

    def _socket(self) -> tuple[socket.SocketType, _Peer] | None:
        """Return a connected socket and to what; None: the server's queue is full.

        @raise ConnectError: connecting failed.
        """
        asking, self._asking = self._asking, None
        if asking is not None:
            sock, peer = asking
            if sock.connect_ex((peer.host, peer.port)) in CONNECTED:
                return asking
            sock.close()
        refusal = None
        for peer in self._peers:
            try:
                return self._socket_to(peer)
            except Refused as error:
                refusal = error
            except ConnectError as error:
                if refusal is None or error.osError not in NO_SUCH_NETWORK:
                    raise
        assert refusal is not None, "there is at least one address"
        raise refusal

    def _socket_to(self, peer: _Peer) -> tuple[socket.SocketType, _Peer] | None:
        """Do the same for one address."""
        address = (peer.host, peer.port)
        family = socket.AF_INET if isinstance(peer, IPv4Address) else socket.AF_INET6
        try:
            sock = socket.SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            raise getConnectError((error.errno, error.strerror)) from error
        outcome = sock.connect_ex(address)
        if outcome == errno.EINPROGRESS:  # a second call returns the outcome
            outcome = sock.connect_ex(address)
        if outcome in CONNECTED:
            if sock.getsockname()[:2] != address:
                return sock, peer
            outcome = errno.ECONNREFUSED  # it connected to itself (simultaneous open, RFC 9293 §3.5)
        if outcome == errno.EALREADY:
            self._asking = sock, peer
            return None
        sock.close()
        raise getConnectError((outcome, os.strerror(outcome)))


def _tell(wish: _Wish, made: Any) -> None:
    """Give the outcome to whoever waits for it; if nobody does any more, close the connection."""
    if wish.waiting is None:
        if not isinstance(made, Failure):
            made.transport.abortConnection()
    elif isinstance(made, Failure):
        wish.waiting.unreachable(made)
    else:
        wish.waiting.connected(made)

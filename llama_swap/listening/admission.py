"""Accepts clients as long as there are file descriptors for them.

Twisted accepts until no descriptor is left.  Then models can be neither started nor reached; and since refusing a
client takes a descriptor, too, waiting clients keep the reactor busy at full load.  Clients that are accepted here
also get transports that cost less than Twisted's own.
"""

from __future__ import annotations

import os
import socket
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from typing import Any, ClassVar

from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.tcp import Port, Server
from twisted.logger import Logger

from llama_swap.net.established import Established
from llama_swap.net.vanished import ask_when_silent

KEPT = 64
"""File descriptors reserved for what accepted clients need; of a low limit, an eighth."""
MANY = 65536
BURST = 32
"""The most clients that are accepted in a row, before other sockets have their turn: of more, the first would have left
the processor's cache when they are served."""
REST = 0.1
"""Seconds until accepting is tried again when no descriptor is left."""
EPISODE = 60.0
"""Seconds without such trouble after which it is logged again."""


def admit_by_descriptors(port: IListeningPort, clock: IReactorTime, *, queued: bool = False) -> IListeningPort:
    """Make clients of a port wait in its listen queue until there are file descriptors for them.

    `queued` says that clients may have connected before the port was ours, as with systemd's sockets.  Clients'
    sockets get `TCP_NODELAY` and keepalive.
    """
    assert isinstance(port, Port), "streams come by nothing else"
    if port.transport is Server:
        port.transport = _Queued if queued else Established  # type: ignore[assignment]  # it is a Server
        _set_options(port.socket)  # those who connect from now on inherit them
    port.doRead = _Admission(port, clock).look  # type: ignore[method-assign]  # Twisted has no other way in
    return port


class _Queued(Established):
    """The transport of a client that may have connected before the listening socket had its options."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        if not self.getTcpNoDelay():
            _set_options(self.socket)


def _set_options(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ask_when_silent(sock)


class _Admission:
    """Takes the place of the port's `doRead`."""

    _log: ClassVar[Logger] = Logger()

    def __init__(self, port: Port, clock: IReactorTime) -> None:
        self._port: Any = port
        self._clock = clock
        self._rested: float | None = None

    def look(self) -> None:
        """Clients are waiting."""
        room = _room(self._port.fileno())
        # There may be fewer: descriptors above the lowest free one may be taken.
        if room <= 0 or not self._let_in(min(BURST, 1 if self._is_tight else 1 + room // 2)):
            self._rest()

    def _let_in(self, most: int) -> bool:
        """Accept up to `most` clients; return False if one that waits cannot be accepted.

        This is what Twisted's port does, save that `buildProtocol` gets no address, which nobody needs there.
        """
        listener = self._port.socket
        family, kind, protocol = int(listener.family), int(listener.type), listener.proto
        for _ in range(most):
            try:
                descriptor, peer = listener._accept()  # noqa: SLF001 -- `accept` looks up family and kind for each
                sock = socket.SocketType(family, kind, protocol, descriptor)
            except (BlockingIOError, ConnectionAbortedError):
                return True
            except (OSError, MemoryError):  # which would end the port
                return False
            self._welcome(sock, peer)
        return True

    def _welcome(self, sock: socket.SocketType, peer: Any) -> None:
        port = self._port
        port.sessionno += 1
        transport = None
        try:
            match peer:
                case (_, _, _, int(interface)) if interface:  # IPv6 with a scope (RFC 4007), which belongs to the name
                    peer = (socket.getnameinfo(peer, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0], *peer[1:])
            client = port.factory.buildProtocol(None)
            transport = port.transport(sock, client, peer, port, port.sessionno, port.reactor)
            client.makeConnection(transport)
        except Exception:  # noqa: BLE001 -- no more room in epoll, for example; the others must be tried
            self._log.failure("a client could not be let in")
            if transport is None:
                sock.close()
            else:
                transport.abortConnection()

    @property
    def _is_tight(self) -> bool:
        return self._rested is not None and self._clock.seconds() - self._rested <= EPISODE

    def _rest(self) -> None:
        if not self._is_tight:
            self._log.warn(
                "clients have to wait, since no file descriptors are left for them: {most} are allowed (ulimit -n)",
                most=getrlimit(RLIMIT_NOFILE)[0],
            )
        self._rested = self._clock.seconds()
        self._port.stopReading()
        self._clock.callLater(REST, self._go_on)

    def _go_on(self) -> None:
        if self._port.connected and not self._port.disconnecting:
            self._port.startReading()


def _room(descriptor: int) -> int:
    """Return how many descriptors there are for new clients, at most; `descriptor` is any open one."""
    try:
        lowest = os.dup(descriptor)  # all below it are taken
    except OSError:
        return 0
    os.close(lowest)
    most, _ = getrlimit(RLIMIT_NOFILE)
    return MANY if most == RLIM_INFINITY else most - min(KEPT, most // 8) - lowest

"""Connecting to this machine, on real sockets, in one turn of the reactor."""

from __future__ import annotations

import contextlib
import itertools
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from llama_swap.relay import local
from llama_swap.relay.local import LoopbackEndpoint


@implementer(IStreamClientEndpoint)
class Patient:
    """Notes that it was asked to connect."""

    def __init__(self) -> None:
        self.connecting: list[Deferred[IProtocol]] = []

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Begin to connect, for ever."""
        self.connecting.append(Deferred())
        return self.connecting[-1]


class Recorder(Protocol):
    """Knows when its connection ended."""

    def __init__(self) -> None:
        self.received = b""
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Keep what comes."""
        self.received += data

    def connectionLost(self, reason: Any = None) -> None:
        """Tell what came in all."""
        self.ended.callback(self.received)


class LoopbackTests(TestCase):
    """The outcome is there in the next turn of the reactor."""

    def setUp(self) -> None:
        """Take a port."""
        self.patient = Patient()
        self.listener = self.listen("127.0.0.1")

    def listen(self, host: str) -> socket.socket:
        """Return a socket that is bound, and does not listen yet."""
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.addCleanup(listener.close)
        listener.bind((host, 0))
        listener.settimeout(10)
        return listener

    def connect(self, listener: socket.socket) -> Deferred[IProtocol]:
        """Connect to a socket's address."""
        host, port = listener.getsockname()[:2]
        peer = IPv6Address("TCP", host, port) if ":" in host else IPv4Address("TCP", host, port)
        self.endpoint = LoopbackEndpoint(reactor, peer, self.patient)
        verifyObject(IStreamClientEndpoint, self.endpoint)
        return self.endpoint.connect(Factory.forProtocol(Recorder))

    async def test_connected(self) -> None:
        """Bytes flow both ways, and the end is told, over IPv4 and IPv6."""
        for host in ("127.0.0.1", "::1"):
            listener = self.listen(host)
            listener.listen()
            connecting = self.connect(listener)
            await _turn()
            protocol = self.successResultOf(connecting)
            accepted, _ = listener.accept()
            protocol.transport.write(b"ping")
            accepted.settimeout(10)
            while protocol.transport.dataBuffer or protocol.transport._tempDataBuffer:
                await _turn()
            self.assertEqual(accepted.recv(4), b"ping")
            self.assertEqual(protocol.transport.getPeer().port, listener.getsockname()[1])
            self.assertIn(host, repr(protocol.transport))
            accepted.sendall(b"pong")
            accepted.close()
            self.assertEqual(await protocol.ended, b"pong")

    async def test_together(self) -> None:
        """Of several that are wished for in one turn, all are connected before the first is told."""
        self.listener.listen()
        self.listener.setblocking(False)

        def accept_all(_: IProtocol) -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    accepted.append(self.listener.accept()[0])

        accepted: list[socket.socket] = []
        first = self.connect(self.listener).addCallback(accept_all)
        second = self.endpoint.connect(Factory.forProtocol(Recorder))
        await first
        await _turn()
        self.assertEqual(len(accepted), 2)
        protocol = self.successResultOf(second)
        for connection in accepted:
            connection.close()
        self.assertEqual(await protocol.ended, b"")

    async def test_cancelled(self) -> None:
        """What is not wished for any more is not connected."""
        self.listener.listen()
        connecting = self.connect(self.listener)
        connecting.cancel()
        await _turn()
        self.failureResultOf(connecting, CancelledError)
        self.listener.setblocking(False)
        self.assertRaises(BlockingIOError, self.listener.accept)

    async def test_cancelled_too_late(self) -> None:
        """A connection that was made, and is not wished for any more before it is told, is closed again."""
        self.listener.listen()
        first = self.connect(self.listener).addCallback(lambda _: second.cancel())
        second = self.endpoint.connect(Factory.forProtocol(Recorder))
        await first
        self.failureResultOf(second, CancelledError)
        for _ in range(2):  # the first is told in the midst of it, and closing takes another turn
            await _turn()
        self.listener.accept()[0].close()
        closed, _ = self.listener.accept()
        self.addCleanup(closed.close)
        closed.settimeout(10)
        self.assertRaises(ConnectionResetError, closed.recv, 1)

    async def test_one_fails(self) -> None:
        """What goes wrong with one connection, the others do not notice, and its socket is closed."""
        readers = itertools.count(1)

        class Full:
            """A reactor with room for one connection less."""

            callLater = staticmethod(reactor.callLater)
            removeReader = staticmethod(reactor.removeReader)  # noqa: N815
            removeWriter = staticmethod(reactor.removeWriter)  # noqa: N815

            def addReader(self, reader: Any) -> None:
                """Take it, but not the second."""
                if next(readers) == 2:
                    raise OSError(28, "No space left on device")
                reactor.addReader(reader)

        self.listener.listen()
        endpoint = LoopbackEndpoint(Full(), IPv4Address("TCP", *self.listener.getsockname()), self.patient)
        connecting = [endpoint.connect(Factory.forProtocol(Recorder)) for _ in range(3)]
        await _turn()
        self.assertIn("No space left", str(self.failureResultOf(connecting.pop(1), OSError).value))
        accepted = [self.listener.accept()[0] for _ in range(3)]
        accepted[1].settimeout(10)
        self.assertEqual(accepted[1].recv(1), b"")
        for connection in accepted:
            connection.close()
        for made in connecting:
            self.assertEqual(await self.successResultOf(made).ended, b"")

    async def test_refused(self) -> None:
        """Nobody listens: that is known at once."""
        connecting = self.connect(self.listener)
        await _turn()
        self.failureResultOf(connecting, Refused)

    async def test_full(self) -> None:
        """A server with no room in its queue is waited for by somebody patient."""
        self.listener.listen(0)
        waiting = [socket.create_connection(self.listener.getsockname())]
        for client in waiting:
            self.addCleanup(client.close)
        connecting = self.connect(self.listener)
        await _turn()
        self.assertNoResult(connecting)
        self.assertEqual(len(self.patient.connecting), 1)

    async def test_itself(self) -> None:
        """TCP lets a socket connect to itself when it is given the very port that nobody listens on."""

        class SamePort(socket.socket):
            def connect_ex(self, address: Any) -> int:
                if self.getsockname() != address:
                    self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    self.bind(address)
                return super().connect_ex(address)

        self.listener.close()
        free = self.listen("127.0.0.1")
        peer = IPv4Address("TCP", *free.getsockname())
        free.close()
        self.patch(local.socket, "socket", SamePort)
        connecting = LoopbackEndpoint(reactor, peer, self.patient).connect(Factory())
        await _turn()
        self.failureResultOf(connecting, Refused)

    async def test_no_sockets_left(self) -> None:
        """A process that may open no more files is told so, by an error like any other."""

        def no_more(*_: object) -> None:
            raise OSError(24, "Too many open files")

        self.patch(local.socket, "socket", no_more)
        connecting = self.connect(self.listener)
        await _turn()
        failure = self.failureResultOf(connecting, ConnectError)
        self.assertIn("Too many open files", str(failure.value))


def _turn() -> Deferred[None]:
    """Return what fires in the next turn of the reactor."""
    turn: Deferred[None] = Deferred()
    reactor.callLater(0, turn.callback, None)
    return turn

"""Connecting to this machine, on real sockets, in one turn of the reactor."""

from __future__ import annotations

import contextlib
import errno
import gc
import itertools
import socket
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from llama_swap.relay import local
from llama_swap.relay.local import LoopbackEndpoint

TIMEOUT = 30

_T = TypeVar("_T")


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
        self.endpoint = LoopbackEndpoint(reactor, [peer], TIMEOUT)
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

            seconds = staticmethod(reactor.seconds)
            callLater = staticmethod(reactor.callLater)
            removeReader = staticmethod(reactor.removeReader)  # noqa: N815
            removeWriter = staticmethod(reactor.removeWriter)  # noqa: N815

            def addReader(self, reader: Any) -> None:
                """Take it, but not the second."""
                if next(readers) == 2:
                    raise OSError(28, "No space left on device")
                reactor.addReader(reader)

        self.listener.listen()
        endpoint = LoopbackEndpoint(Full(), [IPv4Address("TCP", *self.listener.getsockname())], TIMEOUT)
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

    def fill(self) -> list[socket.socket]:
        """Let the server's queue be full; return whom it is full of."""
        self.listener.listen(1)
        waiting = [socket.create_connection(self.listener.getsockname()) for _ in range(2)]
        for client in waiting:
            self.addCleanup(client.close)
        return waiting

    async def test_full(self) -> None:
        """A server with no room in its queue is asked again soon, and lets them in in the order in which they came."""
        self.fill()
        told: list[int] = []
        first = self.connect(self.listener).addCallback(_noting(told, 1))
        others = [
            self.endpoint.connect(Factory.forProtocol(Recorder)).addCallback(_noting(told, number)) for number in (2, 3)
        ]
        await _turn()
        await _turn()
        others.append(self.endpoint.connect(Factory.forProtocol(Recorder)).addCallback(_noting(told, 4)))
        self.assertEqual(told, [])
        began = reactor.seconds()
        self.listener.setblocking(False)
        while len(told) < 4:
            with contextlib.suppress(BlockingIOError):
                self.listener.accept()[0].close()
            await _turn()
        took = reactor.seconds() - began
        self.assertEqual(told, [1, 2, 3, 4])
        self.assertLess(took, 0.9, "it was left to the kernel, which asks again after a second")
        with contextlib.suppress(BlockingIOError):
            while True:
                self.listener.accept()[0].close()
        for made in (first, *others):
            self.assertEqual(await (await made).ended, b"")

    async def test_full_for_too_long(self) -> None:
        """Nobody waits for longer than the timeout; who does not want to wait any more, leaves the others alone."""
        self.fill()
        peer = IPv4Address("TCP", *self.listener.getsockname())
        endpoint = LoopbackEndpoint(reactor, [peer], 0.1)
        late, left = (endpoint.connect(Factory.forProtocol(Recorder)) for _ in range(2))
        await _turn()
        left.cancel()
        self.failureResultOf(left, CancelledError)
        with self.assertRaises(TimedOut):
            await late

    async def test_full_again(self) -> None:
        """However long a server was full before, it is asked again within milliseconds when it is so next time."""
        self.fill()
        clock = Clock()
        endpoint = LoopbackEndpoint(clock, [IPv4Address("TCP", *self.listener.getsockname())], TIMEOUT)
        for _ in range(2):
            connecting = endpoint.connect(Factory.forProtocol(Recorder))
            clock.advance(0)
            [again] = clock.getDelayedCalls()
            self.assertAlmostEqual(again.getTime() - clock.seconds(), 2 * local.FIRST_PAUSE)
            clock.pump([local.LONGEST_PAUSE] * 10)
            connecting.cancel()
            self.failureResultOf(connecting, CancelledError)
            clock.advance(local.LONGEST_PAUSE)
            self.assertEqual(clock.getDelayedCalls(), [])

    async def test_slow_kernel(self) -> None:
        """Where the outcome is not known at once, that attempt is not given up before it had its time."""
        attempts = itertools.count(1)

        class Slow(socket.socket):
            def connect_ex(self, address: Any) -> int:
                outcome = super().connect_ex(address)
                return errno.EALREADY if next(attempts) == 1 else outcome

        self.listener.listen()
        self.patch(local.socket, "SocketType", Slow)
        connecting = self.connect(self.listener)
        await _turn()
        self.assertNoResult(connecting)
        protocol = await connecting
        self.listener.accept()[0].close()
        self.assertEqual(await protocol.ended, b"")
        self.assertEqual(next(attempts), 3)

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
        self.patch(local.socket, "SocketType", SamePort)
        connecting = LoopbackEndpoint(reactor, [peer], TIMEOUT).connect(Factory())
        await _turn()
        self.failureResultOf(connecting, Refused)

    async def test_no_sockets_left(self) -> None:
        """A process that may open no more files is told so, by an error like any other."""

        def no_more(*_: object) -> None:
            raise OSError(24, "Too many open files")

        self.patch(local.socket, "SocketType", no_more)
        connecting = self.connect(self.listener)
        await _turn()
        failure = self.failureResultOf(connecting, ConnectError)
        self.assertIn("Too many open files", str(failure.value))


class SeveralAddressesTests(TestCase):
    """`localhost` is two addresses: a server may listen on either."""

    def setUp(self) -> None:
        """Take a port of both addresses, where nobody listens yet."""
        self.first = socket.socket(socket.AF_INET)
        self.second = socket.socket(socket.AF_INET6)
        for sock in (self.first, self.second):
            self.addCleanup(sock.close)
        while True:
            self.first.bind(("127.0.0.1", 0))
            try:
                self.second.bind(("::1", self.first.getsockname()[1]))
                break
            except OSError:  # somebody else has that one
                self.first.close()
                self.first = socket.socket(socket.AF_INET)
                self.addCleanup(self.first.close)

    def connect(self) -> Deferred[IProtocol]:
        """Connect to the two, in this order."""
        port = self.first.getsockname()[1]
        peers = [IPv4Address("TCP", "127.0.0.1", port), IPv6Address("TCP", "::1", port)]
        return LoopbackEndpoint(reactor, peers, TIMEOUT).connect(Factory.forProtocol(Recorder))

    async def assert_reached(self, listener: socket.socket) -> None:
        """Assert that one connection is made, to this one."""
        connecting = self.connect()
        await _turn()
        protocol = self.successResultOf(connecting)
        listener.settimeout(10)
        listener.accept()[0].close()
        self.assertEqual(protocol.transport.getPeer().host, listener.getsockname()[0])
        self.assertEqual(await protocol.ended, b"")

    async def test_first(self) -> None:
        """The first is asked, and it alone where it answers."""
        self.first.listen()
        self.second.listen()
        await self.assert_reached(self.first)
        self.second.setblocking(False)
        self.assertRaises(BlockingIOError, self.second.accept)

    async def test_second(self) -> None:
        """Where it refuses, the second is asked, without delay."""
        self.second.listen()
        await self.assert_reached(self.second)

    async def test_both_refuse(self) -> None:
        """Where both refuse, that is the answer."""
        connecting = self.connect()
        await _turn()
        self.failureResultOf(connecting, Refused)

    def outcomes(self, first: int, second: int) -> list[int]:
        """Let connecting to the two come to these error numbers; return the families that were asked."""
        asked: list[int] = []

        class Failing(socket.socket):
            def connect_ex(self, address: Any) -> int:
                asked.append(self.family)
                return first if self.family == socket.AF_INET else second

        self.patch(local.socket, "SocketType", Failing)
        return asked

    async def test_no_second_address(self) -> None:
        """Where this machine has no IPv6, the refusal of 127.0.0.1 is the answer, for it tells that nobody listens."""
        for number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENETUNREACH):
            asked = self.outcomes(errno.ECONNREFUSED, number)
            connecting = self.connect()
            await _turn()
            self.failureResultOf(connecting, Refused)
            self.assertEqual(asked, [socket.AF_INET, socket.AF_INET6])

    async def test_second_fails_otherwise(self) -> None:
        """What else goes wrong with the second is the answer, for somebody may listen there."""
        self.outcomes(errno.ECONNREFUSED, errno.EACCES)
        connecting = self.connect()
        await _turn()
        self.assertEqual(self.failureResultOf(connecting, ConnectError).value.osError, errno.EACCES)

    async def test_other_failures(self) -> None:
        """Any other failure of the first is final, even that there is no such network."""
        for number in (errno.EACCES, errno.ENETUNREACH):
            asked = self.outcomes(number, 0)
            connecting = self.connect()
            await _turn()
            self.assertEqual(self.failureResultOf(connecting, ConnectError).value.osError, number)
            self.assertEqual(asked, [socket.AF_INET])


class AskTests(TestCase):
    """Without a Deferred."""

    async def test_defect(self) -> None:
        """Who fails to hear of a connection spoils nobody else's."""
        told: list[object] = []

        class Defective:
            def unreachable(self, failure: Failure) -> None:
                raise ValueError("a defect")

            connected = unreachable

        class Sound:
            unreachable = connected = told.append

        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            endpoint = LoopbackEndpoint(reactor, [IPv4Address("TCP", *nobody.getsockname())], TIMEOUT)
            for waiting in (Defective(), Sound):
                endpoint.ask(Factory.forProtocol(Recorder), waiting)  # type: ignore[arg-type]
            await _turn()
        [failure] = told
        self.assertIsInstance(failure, Failure)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    async def test_refused_is_forgotten(self) -> None:
        """Who was refused is forgotten at once, with the request and its body: not when the garbage collector comes."""

        class Waiting:
            def unreachable(self, failure: Failure) -> None:
                refused.append(failure.type)

            connected = unreachable

        refused: list[object] = []
        gc.disable()
        self.addCleanup(gc.enable)
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            endpoint = LoopbackEndpoint(reactor, [IPv4Address("TCP", *nobody.getsockname())], TIMEOUT)
            waiting = Waiting()
            endpoint.ask(Factory.forProtocol(Recorder), waiting)
            forgotten = weakref.ref(waiting)
            del waiting
            await _turn()
            await _turn()
        self.assertEqual(refused, [Refused])
        self.assertIsNone(forgotten())


def _noting(told: list[int], number: int) -> Callable[[_T], _T]:
    """Return a callback that adds `number` to `told`."""

    def note(result: _T) -> _T:
        told.append(number)
        return result

    return note


def _turn() -> Deferred[None]:
    """Return what fires in the next turn of the reactor."""
    turn: Deferred[None] = Deferred()
    reactor.callLater(0, turn.callback, None)
    return turn

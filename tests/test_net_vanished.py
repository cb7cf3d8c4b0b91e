"""Machines that vanish, on real sockets: those of a client that hears nothing any more, and so answers nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from llama_swap.listening.address import Address
from llama_swap.listening.admission import admit_by_descriptors
from llama_swap.listening.certificate import Certificate
from llama_swap.listening.tls import RenewableListening
from llama_swap.net import vanished
from llama_swap.net.vanished import AGAIN, LONGEST, QUESTIONS, SILENCE, Vanished, ask_when_silent
from llama_swap.relay import endpoints
from tests.support_tls import make_certificates

IP_MINTTL = 21
GONE = vanished._INFO.pack(vanished.UNANSWERED, 0, round(vanished.GONE_AFTER * 1000))


def vanish(sock: socket.socket) -> None:
    """Let nothing reach a socket any more, not even what the system would answer by itself.

    It takes only packets that may go through 255 machines, while those of this system may go through fewer.
    """
    sock.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 255)


def options(sock: socket.socket) -> list[int]:
    """Return whether a socket asks for signs, and its times."""
    return [
        sock.getsockopt(level, option)
        for level, option in (
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
        )
    ]


class Told(Protocol):
    """Tells of its connection, and of its end."""

    def __init__(self) -> None:
        self.lost: Deferred[Failure] = Deferred()

    def connectionMade(self) -> None:
        """It has come."""
        self.factory.made.callback(self)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        self.lost.callback(reason.value)


class VanishedTests(TestCase):
    """A server that lets clients in as we do."""

    async def listen(self) -> None:
        """Listen."""
        self.factory = Factory.forProtocol(Told)
        self.port: Any = reactor.listenTCP(0, self.factory, interface="127.0.0.1")  # type: ignore[attr-defined]
        admit_by_descriptors(self.port, reactor)  # type: ignore[arg-type]
        self.addCleanup(self.port.stopListening)

    async def client(self) -> tuple[socket.socket, Any]:
        """Return a client, and our end."""
        self.factory.made = made = Deferred()  # type: ignore[attr-defined]
        client = socket.create_connection(("127.0.0.1", self.port.getHost().port))
        self.addCleanup(client.close)
        return client, await made

    async def test_silent(self) -> None:
        """A connection over which nothing goes ends soon after the other end has vanished."""
        for name in ("SILENCE", "AGAIN", "QUESTIONS"):
            self.patch(vanished, name, 1)
        await self.listen()
        client, ours = await self.client()
        vanish(client)
        self.assertIsInstance(await ours.lost, ConnectionLost)

    async def test_told(self) -> None:
        """So does one over which bytes are on their way; who is there and reads nothing may go on."""
        self.patch(vanished, "LOOK_EVERY", 0.1)
        self.patch(vanished, "GONE_AFTER", 1.0)
        self.patch(vanished, "AT_ONCE", 1)
        await self.listen()
        client, ours = await self.client()
        _stalled, theirs = await self.client()
        theirs.transport.write(bytes(20_000_000))
        watch = Vanished(reactor)
        watch.startService()
        self.addCleanup(watch.stopService)
        vanish(client)
        ours.transport.write(b"are you there?")
        self.assertIsInstance(await ours.lost, ConnectionAborted)
        self.assertFalse(theirs.lost.called)
        theirs.transport.abortConnection()
        await theirs.lost

    async def test_unix(self) -> None:
        """Clients of a UNIX socket are on this machine, and nothing is known of them."""
        path = self.mktemp()
        self.factory = Factory.forProtocol(Told)
        self.factory.made = Deferred()  # type: ignore[attr-defined]
        self.port = reactor.listenUNIX(path, self.factory)  # type: ignore[attr-defined]
        self.addCleanup(self.port.stopListening)
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(path)
        ours = await self.factory.made  # type: ignore[attr-defined]
        with self.assertRaises(OSError):
            ours.transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 4)
        Vanished(reactor)._look()
        self.assertFalse(ours.lost.called)
        ours.transport.abortConnection()
        await ours.lost


class WatchTests(SynchronousTestCase):
    """The watch itself."""

    def setUp(self) -> None:
        """Watch readers that are there by test."""
        self.clock = Clock()
        self.readers: list[Any] = []
        self.clock.getReaders = lambda: self.readers  # type: ignore[attr-defined]
        self.watch = Vanished(self.clock)
        self.watch.startService()

    def tearDown(self) -> None:
        """It ends without complaint, and leaves nothing to come."""
        self.watch.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def connection(self, info: bytes, aborted: Callable[[], None]) -> Connection:
        """Return a connection of which the system tells `info`."""
        found = Connection.__new__(Connection)
        found.connected = 1
        found.socket = SimpleNamespace(getsockopt=lambda *_: info)  # type: ignore[assignment]
        found.abortConnection = aborted  # type: ignore[method-assign]
        return found

    def test_tells_less(self) -> None:
        """A connection of which the system tells less than we ask is left alone; the next one is looked at."""
        aborted: list[str] = []
        self.readers = [
            self.connection(b"", lambda: aborted.append("less")),
            self.connection(GONE, lambda: aborted.append("gone")),
        ]
        self.clock.advance(vanished.LOOK_EVERY)
        self.assertEqual(aborted, ["gone"])

    def test_goes_on(self) -> None:
        """A look that fails is told, and is not the last."""
        self.readers = [self.connection(GONE, lambda: 1 / 0)]  # type: ignore[arg-type, return-value]
        for _ in range(2):
            self.clock.advance(vanished.LOOK_EVERY)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopped_before(self) -> None:
        """To stop what does not run is no error."""
        clock = Clock()
        Vanished(clock).stopService()
        self.assertEqual(clock.getDelayedCalls(), [])


class OptionTests(TestCase):
    """Which connections ask for signs, and when."""

    def test_bounds(self) -> None:
        """What Linux would not take is made to fit."""
        with socket.socket() as sock:
            for after, expected in ((0.0, SILENCE), (0.2, 1), (7.0, 7), (1e9, LONGEST)):
                ask_when_silent(sock, after)
                self.assertEqual(options(sock), [1, expected, AGAIN, QUESTIONS])

    async def test_clients(self) -> None:
        """Those of clients do, with TLS or without, also if they had come before the port was ours."""
        directory = Path(self.mktemp())
        directory.mkdir()
        files = make_certificates(directory)
        for queued in (False, True):
            for certificate in (None, Certificate(files.certificate, files.key)):
                factory = Factory.forProtocol(Told)
                factory.made = Deferred()  # type: ignore[attr-defined]
                port: Any = await RenewableListening(Address("127.0.0.1:0", certificate), reactor).listen(factory)
                with socket.socket() as client:
                    if queued:
                        client.connect(("127.0.0.1", port.getHost().port))
                    admit_by_descriptors(port, reactor, queued=queued)  # type: ignore[arg-type]
                    if not queued:
                        client.connect(("127.0.0.1", port.getHost().port))
                    protocol = await factory.made  # type: ignore[attr-defined]
                    transport = protocol.transport.transport if certificate else protocol.transport
                    self.assertEqual(options(transport.getHandle()), [1, SILENCE, AGAIN, QUESTIONS])
                    transport.abortConnection()
                    await protocol.lost
                await port.stopListening()

    async def test_upstream(self) -> None:
        """Those to other machines do, with TLS or without."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            dialer = endpoints.Dialer(reactor)
            self.patch(endpoints, "is_loopback_address", lambda _: False)
            for scheme in ("http", "https"):
                endpoint = dialer.endpoint(f"{scheme}://127.0.0.1:{server.getsockname()[1]}", keepalive=7)
                factory = Factory.forProtocol(Told)
                factory.made = Deferred()  # type: ignore[attr-defined]
                await endpoint.connect(factory)
                protocol: Any = await factory.made  # type: ignore[attr-defined]
                transport = protocol.transport if scheme == "http" else protocol.transport.transport
                self.assertEqual(options(transport.getHandle()), [1, 7, AGAIN, QUESTIONS])
                transport.abortConnection()
                await protocol.lost

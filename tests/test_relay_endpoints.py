"""How an upstream's URL becomes an endpoint."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import (
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
    NoRouteError,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.error import TimeoutError as TimedOut
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import NobodyListens
from llama_swap.relay import endpoints
from llama_swap.relay.endpoints import CONNECT_TIMEOUT, NO_TIMEOUT, Dialer, cannot_connect, speaks_no_tls
from tests.fakes_wire import Wire


def _endpoint(reactor: Any, peers: Sequence[IPv4Address | IPv6Address], timeout: float) -> IStreamClientEndpoint:
    """Do without the loopback device what `LoopbackEndpoint` does with the first address."""
    endpoint = TCP4ClientEndpoint if isinstance(peers[0], IPv4Address) else TCP6ClientEndpoint
    return endpoint(reactor, peers[0].host, peers[0].port, timeout)


class EndpointTestCase(SynchronousTestCase):
    """A reactor that only notes where it is to connect to."""

    def setUp(self) -> None:
        """Make the reactor, and leave it what the loopback device could do without one."""
        self.patch(endpoints, "LoopbackEndpoint", _endpoint)
        self.asked: list[float] = []
        self.patch(endpoints, "ask_when_silent", lambda _socket, after: self.asked.append(after))
        self.reactor = MemoryReactorClock()
        self.dialer = Dialer(self.reactor)

    def connect(self, url: str) -> Deferred[IProtocol]:
        """Begin to connect to a URL."""
        return self.dialer.endpoint(url).connect(Factory.forProtocol(Protocol))

    def attempts(self) -> list[tuple[str, int]]:
        """Return where connections were attempted to, in order."""
        return [(host, port) for host, port, *_ in self.reactor.tcpClients]

    def fail(self, number: int, error: Exception) -> None:
        """Let an attempt fail."""
        factory = self.reactor.tcpClients[number][2]
        factory.clientConnectionFailed(self.reactor.connectors[number], Failure(error))

    def succeed(self, number: int) -> Wire:
        """Let an attempt succeed."""
        return Wire(self.reactor.tcpClients[number][2].buildProtocol(None))


class AddressTests(EndpointTestCase):
    """Where a connection goes."""

    def test_addresses(self) -> None:
        """Addresses are taken as they are, with the scheme's port unless there is another; paths do not matter."""
        for url, where in (
            ("http://127.0.0.1:5800", ("127.0.0.1", 5800)),
            ("http://192.0.2.7/path:1?q", ("192.0.2.7", 80)),
            ("http://[2001:db8::1]:5800/x", ("2001:db8::1", 5800)),
            ("http://[::1]", ("::1", 80)),
        ):
            self.connect(url)
            self.assertEqual(self.attempts()[-1], where)
        self.assertEqual({timeout for _, _, _, timeout, _ in self.reactor.tcpClients}, {CONNECT_TIMEOUT})

    def test_no_timeout(self) -> None:
        """A timeout of 0 is none, as in the original, instead of one that nobody keeps."""
        for host in ("127.0.0.1", "192.0.2.7", "gpu.example"):
            self.dialer.endpoint(f"http://{host}:5800", 0).connect(Factory.forProtocol(Protocol))
        self.assertEqual({timeout for _, _, _, timeout, _ in self.reactor.tcpClients}, {NO_TIMEOUT})

    def test_refused_at_once(self) -> None:
        """A refused connection is reported without any delay, for a probe to go on."""
        connecting = self.connect("http://127.0.0.1:5800")
        self.fail(0, Refused())
        self.failureResultOf(connecting, Refused)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_names(self) -> None:
        """Other names are looked up."""
        connecting = self.connect("http://gpu.example:5800")
        self.assertEqual(self.attempts(), [("127.0.0.1", 5800)])  # where this reactor finds every name
        self.succeed(0)
        self.successResultOf(connecting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_signs(self) -> None:
        """Other machines are asked for signs, wherever they are; this one is not."""
        here, elsewhere = ("127.0.0.1", "localhost", "[::1]"), ("192.0.2.7", "[2001:db8::7]", "gpu.example")
        for host in (*here, *elsewhere):
            self.dialer.endpoint(f"http://{host}:5800", keepalive=7).connect(Factory.forProtocol(Protocol))
            self.succeed(-1)
        self.assertEqual(self.asked, [7] * len(elsewhere))

    def test_dear(self) -> None:
        """Connections over TLS are dear to their pool, and no others."""
        for scheme, dear in (("http", False), ("https", True), ("HTTPS", True)):
            self.assertEqual(self.dialer.pool(f"{scheme}://gpu.example")._dear, dear)

    def test_localhost(self) -> None:
        """`localhost` is two addresses, whatever a resolver would say."""
        asked: list[Any] = []
        self.patch(endpoints, "LoopbackEndpoint", lambda _reactor, peers, _timeout: asked.extend(peers))
        self.dialer.endpoint("http://LOCALHOST:5800")
        self.assertEqual(asked, [IPv4Address("TCP", "127.0.0.1", 5800), IPv6Address("TCP", "::1", 5800)])

    def test_https(self) -> None:
        """https speaks TLS, on its own port, to names and addresses."""
        for url, where in (
            ("https://127.0.0.1/x", ("127.0.0.1", 443)),
            ("https://localhost:8443", ("127.0.0.1", 8443)),
            ("https://gpu.example", ("127.0.0.1", 443)),
        ):
            connecting = self.connect(url)
            self.assertEqual(self.attempts()[-1], where)
            wire = self.succeed(-1)
            self.assertTrue(wire.take().startswith(b"\x16\x03"), "no ClientHello")
            self.successResultOf(connecting)


class FailureTests(SynchronousTestCase):
    """`cannot_connect`."""

    def test_reasons(self) -> None:
        """Each reason is told once, in words that need no other program's manual."""
        for error, told in (
            (Refused(errno.ECONNREFUSED, "Connection refused"), "nobody listens there (connection refused)"),
            (NoRouteError(errno.EHOSTUNREACH, "No route to host"), "cannot connect: No route to host"),
            (TimedOut(), "cannot connect: it did not respond in time"),
            (DNSLookupError("no results"), "cannot connect: there is no host of that name"),
            (ValueError("what nobody thought of"), "cannot connect: what nobody thought of"),
        ):
            self.assertIn(told, str(cannot_connect(Failure(error))))
            self.assertEqual(str(cannot_connect(Failure(error))).count("refused"), told.count("refused"))

    def test_no_tls(self) -> None:
        """What is wrong with a certificate is told, and nothing of a connection that had none."""
        for error, told in (
            (SSL.Error([("SSL routines", "", "wrong version number")]), "wrong version number"),
            (VerificationError(errors=[]), "its certificate is for another name"),
        ):
            self.assertEqual(str(speaks_no_tls(Failure(error))), f"TLS cannot be spoken with it: {told}")
        for closed in (ConnectionDone(), ConnectionLost()):
            self.assertIsNone(speaks_no_tls(Failure(closed)))

    def test_nobody(self) -> None:
        """That nobody listens is another thing than that nobody is reached."""
        self.assertIsInstance(cannot_connect(Failure(Refused())), NobodyListens)
        self.assertNotIsInstance(cannot_connect(Failure(TimedOut())), NobodyListens)

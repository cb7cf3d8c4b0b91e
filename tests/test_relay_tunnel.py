"""Upgrades: who gets one, and what passes through then."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from llama_swap.http.headers import OutboundRequest
from llama_swap.relay.tunnel import is_agreed, wanted_protocol
from llama_swap.server.channel import STALL_TIMEOUT
from llama_swap.server.site import GIVE_BACK_AFTER
from tests.fakes_web import site_of
from tests.fakes_wire import Client, Wire, read_answer, request_to
from tests.support_relay import RelayTestCase, Root

SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nConnection: upgrade, x-hop\r\nX-Hop: 1\r\nX: 1\r\n\r\n"
)
SEEN = b"HTTP/1.1 101 Switching Protocols\r\nX: 1\r\nConnection: Upgrade\r\nupgrade: websocket\r\n\r\n"


class WordsTests(SynchronousTestCase):
    """What requests and answers say about upgrades."""

    def test_wanted(self) -> None:
        """Only a request with `Upgrade`, named in `Connection`, wants one."""
        for fields, wanted in (
            ([(b"Upgrade", b"websocket"), (b"Connection", b"keep-alive, Upgrade")], b"websocket"),
            (
                [(b"UPGRADE", b"a/1, b"), (b"connection", b"x"), (b"connection", b"upgrade"), (b"upgrade", b"c")],
                b"a/1, b, c",
            ),
            ([(b"Upgrade", b"websocket")], None),
            ([(b"Connection", b"Upgrade")], None),
            ([(b"Upgrade", b""), (b"Connection", b"Upgrade")], None),
            ([(b"Upgrade", b"websocket"), (b"Connection", b"Upgrades")], None),
        ):
            self.assertEqual(wanted_protocol(fields), wanted, fields)

    def test_not_the_upstreams(self) -> None:
        """What concerns the client's own connection is not passed on: HTTP/2 and TLS, in any spelling and company."""
        for offered, wanted in (
            (b"h2c", None),
            (b"H2C", None),
            (b"TLS/1.2", None),
            (b"TLS/1.3, h2c ,", None),
            (b"h2c, websocket", b"websocket"),
            (b"tls, h2", b"tls, h2"),
        ):
            fields = [(b"Upgrade", offered), (b"Connection", b"Upgrade, HTTP2-Settings"), (b"HTTP2-Settings", b"AAM")]
            self.assertEqual(wanted_protocol(fields), wanted, offered)

    def test_agreed(self) -> None:
        """An answer may choose among what was wanted."""
        for agreed, fits in (
            (b"WebSocket", True),
            (b"b", True),
            (b"b, websocket", True),
            (b"h2c", False),
            (b"b, h2c", False),
        ):
            self.assertEqual(is_agreed(b"websocket, b", [(b"Upgrade", agreed)]), fits, agreed)
        self.assertFalse(is_agreed(b"websocket", []))

    def test_request(self) -> None:
        """The upstream is asked for the same."""
        head = request_to(upgrade=b"a, b").head()
        self.assertIn(b"\r\nConnection: Upgrade\r\nUpgrade: a, b\r\n", head)


class Upgrading(Root):
    """Asks its upstream for a WebSocket, whatever the client asks for."""

    def outbound(self, request: Request) -> OutboundRequest:
        """Return the request that goes upstream."""
        return request_to(request.uri, method=request.method, upgrade=b"websocket")


class TunnelTests(RelayTestCase):
    """A client, an upstream, and the tunnel between them."""

    def setUp(self) -> None:
        """Make both ends."""
        super().setUp()
        self.root: Any = Upgrading()
        self.upstream = self.root.upstream
        self.site = site_of(self.root)
        self.client = Client(self.site)

    def switch(self, behind_answer: bytes = b"", behind_request: bytes = b"") -> Wire:
        """Return the upstream's end of a tunnel."""
        wire = self.ask()
        wire.take()
        if behind_request:
            self.client.send(behind_request)
        wire.deliver(SWITCHED + behind_answer)
        self.assertEqual(self.client.wire.take(), SEEN + behind_answer)
        self.assertEqual(wire.take(), behind_request)
        self.assertEqual(self.root.over, 0)
        return wire

    def ended(self) -> None:
        """Check that the tunnel is over, and nothing was left or logged."""
        self.client.wire.settle()
        self.assertTrue(self.client.wire.gone)
        self.assertEqual(self.root.over, 1)
        self.assertEqual(self.site.tunnels, set())
        self.site.reactor.advance(GIVE_BACK_AFTER)
        self.assertEqual(self.site.reactor.getDelayedCalls(), [])
        self.assert_no_defect()

    def test_both_ways(self) -> None:
        """Every byte passes at once, unchanged, both ways, whatever it looks like."""
        wire = self.switch()
        for data in (b"\x81\x05hello", b"GET / HTTP/1.1\r\n\r\n", b"0\r\n\r\n", b"x" * 100_000):
            self.client.send(data)
            self.assertEqual(wire.take(), data)
            wire.deliver(data)
            self.assertEqual(self.client.wire.take(), data)
        self.client.leave()
        self.assertTrue(wire.disconnecting)
        self.ended()

    def test_right_behind_the_heads(self) -> None:
        """Nothing is lost of what was sent before the other side had switched."""
        self.switch(b"from the model", b"from the client")
        self.client.leave()
        self.ended()

    def test_upstream_closes(self) -> None:
        """When the upstream closes, so does the client's connection, after the last byte."""
        wire = self.switch()
        wire.deliver(b"\x88\x02\x03\xe8")
        wire.lose()
        self.assertEqual(self.client.wire.take(), b"\x88\x02\x03\xe8")
        self.assertTrue(self.client.wire.disconnecting)
        self.ended()

    def test_upstream_breaks(self) -> None:
        """The same if it breaks."""
        wire = self.switch()
        wire.lose(ConnectionLost())
        self.assertTrue(self.client.wire.disconnecting)
        self.ended()

    def test_client_leaves(self) -> None:
        """When the client leaves, the upstream still gets what it sent last."""
        wire = self.switch()
        self.client.send(b"\x88\x02\x03\xe8")
        self.client.leave()
        self.assertEqual(wire.take(), b"\x88\x02\x03\xe8")
        self.assertTrue(wire.disconnecting)
        self.assertFalse(wire.aborted)
        self.ended()

    def test_client_leaves_a_stuck_upstream(self) -> None:
        """Unless it does not read."""
        wire = self.switch()
        wire.fill()
        self.client.leave()
        self.assertTrue(wire.aborted)
        self.ended()

    def test_back_pressure(self) -> None:
        """Whoever does not read makes the other side wait."""
        wire = self.switch()
        wire.fill()
        self.assertTrue(self.client.wire.paused)
        wire.drain()
        self.assertFalse(self.client.wire.paused)
        self.client.wire.fill()
        self.assertTrue(wire.paused)
        self.client.wire.drain()
        self.assertFalse(wire.paused)
        self.client.leave()
        self.ended()

    def test_long_silence(self) -> None:
        """A tunnel may be silent for hours."""
        wire = self.switch()
        self.site.reactor.advance(100_000)
        self.assertFalse(self.client.wire.disconnecting)
        wire.deliver(b"still here")
        self.assertEqual(self.client.wire.take(), b"still here")
        self.client.leave()
        self.ended()

    def test_stuck_upstream(self) -> None:
        """An upstream that reads nothing for long ends it: whether the client is still there could not be known."""
        wire = self.switch()
        for _ in range(3):
            wire.fill()
            self.site.reactor.advance(STALL_TIMEOUT * 0.9)
            wire.drain()
            self.site.reactor.advance(STALL_TIMEOUT)
        wire.fill()
        self.client.wire.fill()
        self.client.wire.drain()
        self.site.reactor.advance(STALL_TIMEOUT)
        self.assertTrue(self.client.wire.disconnecting)
        self.client.wire.settle()
        self.assertTrue(wire.aborted)
        self.ended()

    def test_refused(self) -> None:
        """An upstream that does not switch gives a plain answer; what came behind the request is the next one."""
        wire = self.ask()
        self.client.send(b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
        wire.deliver(
            b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nno"
        )
        answer = read_answer(self.client.wire.take())
        self.assertEqual((answer.status, answer.body, answer["Upgrade"]), (426, b"no", None))
        self.assertEqual(self.root.order, ["began /", "over /", "began /next"])

    def test_not_as_asked(self) -> None:
        """An upstream that switches to something else, or with the length of a body, is a 502."""
        for fields in (b"Upgrade: h2c\r\n", b"", b"Upgrade: websocket\r\nContent-Length: 5\r\n"):
            self.setUp()
            wire = self.ask()
            wire.deliver(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n" + fields + b"\r\nhello")
            self.assertEqual(read_answer(self.client.wire.take()).status, 502, fields)
            self.assertTrue(wire.aborted)
            self.assertEqual(self.root.over, 1)

    def test_shutting_down(self) -> None:
        """At the end of the proxy every tunnel is closed at once, and none is opened any more."""
        wire = self.switch()
        waiting = Client(self.site)
        waiting.ask("GET", "/late")
        late = self.upstream.accept()
        self.site.end_tunnels()
        self.assertTrue(self.client.wire.disconnecting)
        self.client.wire.settle()
        self.assertTrue(wire.disconnecting)
        late.deliver(SWITCHED)
        self.assertTrue(waiting.wire.disconnecting)
        waiting.wire.settle()
        self.assertEqual((self.root.over, self.site.tunnels), (2, set()))
        self.assert_no_defect()

    def test_shutting_down_a_stuck_client(self) -> None:
        """Also the tunnel of a client that does not read."""
        self.switch()
        self.client.wire.fill()
        self.site.end_tunnels()
        self.assertTrue(self.client.wire.aborted)
        self.ended()

"""What should never happen between the lease and the answer: each step fails once, and nobody is left behind."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.bodies.spool import IN_MEMORY, Spooled
from llama_swap.config.model import Config, Peer, Timeouts
from llama_swap.errors import DEFECT
from llama_swap.http.headers import OutboundRequest
from llama_swap.metrics.inflight import InFlightRequest
from llama_swap.relay import exchange, resource
from llama_swap.relay.connection import UpstreamConnection
from llama_swap.relay.pool import TRIAL, Pool
from llama_swap.web import forwarding
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from tests.fakes import Inline
from tests.fakes_web import Endpoints, FakeLease, FakeRouter, app_with, models, site_of, unwatched
from tests.fakes_wire import Client, Wire

CONFIG = Config(
    models=models("a", timeouts=Timeouts(response_header=5)),
    peers={"p": Peer(proxy="http://peer.example", models=("m",))},
)
CHAT = "/v1/chat/completions"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"

HERE = (
    (forwarding, "OutboundRequest"),
    (forwarding, "ReverseProxyResource"),
    (InFlightRequest, "grant"),
    (resource, "Exchange"),
)
"""Steps of which only who holds the lease knows."""
RELAY = (
    (Pool, "take"),
    (Pool, "connect"),
    (exchange, "AnswerParser"),
    (OutboundRequest, "head"),
    (UpstreamConnection, "carry"),
    (UpstreamConnection, "send"),
)
"""Steps of the relay."""


class DefectTests(SynchronousTestCase):
    """With client and upstream in memory."""

    def setUp(self) -> None:
        self.router: Any = FakeRouter(CONFIG)
        self.endpoints = Endpoints()
        self.upstream = self.endpoints.upstream
        self.in_flight = unwatched()
        forwarder = Forwarder(self.router, self.endpoints, self.in_flight)
        app = app_with(InferenceRoutes(forwarder, Inline()).add_to)
        self.client = Client(site_of(Front(app), max_body=2 * IN_MEMORY))
        self.addCleanup(self.end)

    def end(self) -> None:
        """Let what is kept be closed."""
        self.upstream.clock.advance(TRIAL)
        self.assertEqual(self.upstream.clock.getDelayedCalls(), [])

    def defect(self, *_: object, **__: object) -> None:
        """Fail as nothing should."""
        raise ZeroDivisionError

    def assert_told(self, *, body: bytes = b'{"model":"a"}', waits: bool = True) -> FakeLease | None:
        """A request that meets with a defect is answered, and leaves nothing; return its lease, if it has one."""
        lease = None if waits else FakeLease(CONFIG.models["a"])
        with self.subTest(body=body[:20], waits=waits):
            self.router.acquire_now = lambda _: lease
            self.client.ask("POST", CHAT, body)
            if waits and self.router.pending:
                lease = self.router.grant()
            wanted = [attempt for attempt in self.upstream.attempts if not attempt[1].called]
            self.upstream.attempts[:] = wanted  # the others were given up
            wire = self.upstream.accept() if wanted else None
            status, message = self.client.error()
            self.assertIn(status, (500, 502))
            self.assertIn(DEFECT if status == 500 else f": {DEFECT}", message)
            self.assertTrue(wire is None or wire.aborted)
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertEqual((list(self.in_flight), [] if lease is None else [lease.released]), ([], [1] * bool(lease)))
        return lease

    def test_each_step(self) -> None:
        """Whichever step fails, and whether or not the client had to wait for its turn."""
        for owner, name in (*HERE, *RELAY):
            for waits in (True, False):
                with self.subTest(name=name):
                    patched = self.patch(owner, name, self.defect)
                    self.assert_told(waits=waits)
                    patched.restore()
        self.assert_serves()

    def assert_serves(self) -> None:
        """The next request is served."""
        self.router.acquire_now = lambda _: FakeLease(CONFIG.models["a"])
        self.client.ask("POST", CHAT, b'{"model":"a"}')
        self.upstream.accept().deliver(OK)
        self.assertEqual(self.client.answer().body, b"OK")

    def test_large_body(self) -> None:
        """A body that cannot be read any more, for a reason that nobody thought of."""
        self.patch(Spooled, "pieces", self.defect)
        self.assert_told(body=b'{"model":"a","x":"%b"}' % (b"x" * IN_MEMORY))

    def test_kept_connection(self) -> None:
        """A defect while a kept connection is used costs that connection, and no more."""
        for name in ("carry", "send"):
            kept = UpstreamConnection(lambda: None)
            wire = Wire(kept)
            patches = self.patch(Pool, "take", lambda _, kept=kept: kept), self.patch(kept, name, self.defect)
            self.assert_told(waits=False)
            self.assertTrue(wire.aborted)
            for patched in patches:
                patched.restore()
        self.assert_serves()

    def test_timer(self) -> None:
        """An upstream that has got the request already does not go on with it."""
        patched = self.patch(self.upstream.clock, "callLater", self.defect)
        self.assert_told()
        patched.restore()

    def test_lease(self) -> None:
        """To ask for a lease fails."""
        for name, lease in (("acquire", None), ("acquire_again", FakeLease(CONFIG.models["a"]))):
            self.patch(self.router, name, self.defect)
            self.router.acquire_now = lambda _, lease=lease: lease
            self.client.ask("POST", CHAT, b'{"model":"a"}')
            if self.upstream.attempts:
                self.upstream.refuse()
            self.assertEqual(self.client.error(), (500, DEFECT))
            self.assertEqual((len(self.flushLoggedErrors(ZeroDivisionError)), list(self.in_flight)), (1, []))

    def test_peer(self) -> None:
        """The same on the way to a peer."""
        for owner, name in RELAY:
            patched = self.patch(owner, name, self.defect)
            self.assert_told(body=b'{"model":"p/m"}')
            self.assertFalse(self.router.peers.are_busy, name)
            patched.restore()

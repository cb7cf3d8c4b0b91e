"""Requests for models of peers: what the peer gets, and what the client sees of its failures."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config, Peer
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from llama_swap.web.passthrough import PassThrough
from llama_swap.web.peering import FIRST_ANSWER
from tests.fakes_web import Endpoints, FakeRouter, app_with, models, site_of, unwatched
from tests.fakes_wire import Client

CONFIG = Config(
    models=models("a"),
    peers={
        "p": Peer(proxy="http://peer.example:9/base", models=("m",), api_key="theirs"),
        "open": Peer(proxy="http://open.example", models=("n",)),
    },
)
CHAT = "/v1/chat/completions"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
KEYS = {"Authorization": "Bearer ours", "X-API-Key": "ours", "X-Other": "x"}


class PeerTests(SynchronousTestCase):
    """With client and peer in memory."""

    def setUp(self) -> None:
        router: Any = FakeRouter(CONFIG)
        self.peers = router.peers
        self.clock: Clock = router.peers.clock
        self.endpoints = Endpoints()
        forwarder = Forwarder(router, self.endpoints, unwatched())
        app = app_with(InferenceRoutes(forwarder).add_to, PassThrough(forwarder).add_to)
        self.client = Client(site_of(Front(app)))
        self.upstream = self.endpoints.upstream

    def tearDown(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.peers._requests, {})

    def sent(self) -> str:
        """Return what the peer gets, and let it answer."""
        wire = self.upstream.accept()
        sent = wire.take().decode()
        wire.deliver(OK)
        self.assertEqual(self.client.answer().body, b"OK")
        return sent

    def error(self) -> tuple[int, str]:
        """Return status and message of the error that the client got."""
        answer = self.client.answer()
        return answer.status, json.loads(answer.body)["error"]["message"]

    def test_what_a_peer_gets(self) -> None:
        """Its own host and key, its own name for the model, and nothing about the client."""
        for name in ("p/m", "m"):
            self.client.ask("POST", CHAT + "?x=1", b'{"model": "%s"}' % name.encode(), KEYS)
            head, _, body = self.sent().partition("\r\n\r\n")
            self.assertEqual(body, '{"model": "m"}')
            line, *fields = head.split("\r\n")
            self.assertEqual(line, f"POST /base{CHAT}?x=1 HTTP/1.1")
            expected = ["Host: peer.example:9", "X-Other: x", "Authorization: Bearer theirs", "x-api-key: theirs"]
            self.assertEqual(fields, [*expected, "Content-Length: 14"])
        self.assertEqual(self.endpoints.urls, ["http://peer.example:9/base"])

    def test_without_a_key(self) -> None:
        """A peer without a key in the configuration gets that of the client, if the proxy has no use for it."""
        self.client.ask("POST", CHAT, b'{"model": "open/n"}', KEYS)
        self.assertIn("Authorization: Bearer ours\r\n", self.sent())

    def test_upstream(self) -> None:
        """A peer's model is also reached below `/upstream/`."""
        self.client.ask("GET", "/upstream/p/m/slots?x=%2F")
        self.assertTrue(self.sent().startswith("GET /base/slots?x=%2F HTTP/1.1\r\nHost: peer.example:9\r\n"))
        self.client.ask("GET", "/upstream/p/m/a.css")
        self.assertTrue(self.sent().startswith("GET /base/a.css "))

    def test_counts(self) -> None:
        """A request counts until its answer has ended."""
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        target = self.peers._requests.most_common()[0][0]
        self.assertEqual((str(target), self.peers.requests(target)), ("p/m", 1))
        self.sent()
        self.assertEqual(self.peers.requests(target), 0)

    def test_unreachable(self) -> None:
        """What goes wrong is told as the peer's."""
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        self.upstream.refuse()
        status, message = self.error()
        self.assertEqual(status, 502)
        self.assertIn("peer proxy error: peer p at http://peer.example:9/base: ", message)

    def test_no_answer(self) -> None:
        """A peer that does not begin to answer is given up."""
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        self.upstream.accept()
        self.clock.advance(FIRST_ANSWER)
        status, message = self.error()
        self.assertEqual(status, 502)
        self.assertIn("no answer has begun for 60 s", message)

    def test_slow_answer(self) -> None:
        """One that has begun may take its time."""
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        wire = self.upstream.accept()
        wire.deliver(OK[:-1])
        self.clock.advance(FIRST_ANSWER)
        wire.deliver(OK[-1:])
        self.assertEqual(self.client.answer().body, b"OK")

    def test_the_end(self) -> None:
        """When the proxy shuts down, nothing new goes to a peer."""
        self.peers.closed = True
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        self.assertEqual(self.error(), (503, "llama-swap is shutting down"))

    def test_client_leaves(self) -> None:
        """Then the peer's work ends, too."""
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        wire = self.upstream.accept()
        self.client.leave()
        self.assertTrue(wire.aborted)

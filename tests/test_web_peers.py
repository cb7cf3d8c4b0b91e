"""Requests for models of peers: what the peer gets, and what the client sees of its failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config, Filters, Peer, Timeouts
from llama_swap.errors import DEFECT
from llama_swap.metrics.records import Retention
from llama_swap.relay.pool import TRIAL
from llama_swap.routing.peers import Seen
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from llama_swap.web.passthrough import PassThrough
from tests.fakes import Inline
from tests.fakes_web import Endpoints, FakeRouter, app_with, keep_records, models, site_of, unwatched
from tests.fakes_wire import Client

CONFIG = Config(
    models=models("a"),
    peers={
        "p": Peer(proxy="http://peer.example:9/base", models=("m",), api_key="theirs"),
        "open": Peer(proxy="http://open.example", models=("n",)),
        "odd": Peer(proxy="http://odd.example", models=("o",), api_key="\ud800"),
        "any": Peer(proxy="http://any.example"),
        "deep": Peer(proxy="http://deep.example", models=("d",), filters=Filters(set_params={"x.n": 1})),
        "strict": Peer(
            proxy="http://strict.example",
            models=("s",),
            filters=Filters(strip_params=("top_p",), set_params={"n": 1}, set_params_by_id={"s": {"max_tokens": 5}}),
            timeouts=Timeouts(connect=3, response_header=5, keepalive=7),
        ),
    },
)
CHAT = "/v1/chat/completions"
TOO_LATE = 60
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
KEYS = {"Authorization": "Bearer ours", "X-API-Key": "ours", "X-Other": "x"}


class PeerTests(SynchronousTestCase):
    """With client and peer in memory."""

    def setUp(self) -> None:
        self.router: Any = FakeRouter(CONFIG)
        self.peers = self.router.peers
        self.endpoints = Endpoints()
        self.in_flight = unwatched()
        forwarder = Forwarder(self.router, self.endpoints, self.in_flight)
        app = app_with(InferenceRoutes(forwarder, Inline()).add_to, PassThrough(forwarder).add_to)
        self.client = Client(site_of(Front(app)))
        self.upstream = self.endpoints.upstream
        self.clock = self.upstream.clock

    def tearDown(self) -> None:
        self.clock.advance(TRIAL)  # for a connection that was kept
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.peers._requests, {})

    def sent(self) -> str:
        """Return what the peer gets, and let it answer."""
        wire = self.upstream.accept()
        sent = wire.take().decode()
        wire.deliver(OK)
        self.assertEqual(self.client.answer().body, b"OK")
        return sent

    def test_taken_out_meanwhile(self) -> None:
        """A peer that is taken out of the configuration while a request to it is filtered is not found any more."""

        def reload_meanwhile(function: Callable[[], Any]) -> Deferred[Any]:
            changed = function()
            self.peers.follow({})
            return succeed(changed)

        in_flight = unwatched()
        routes = InferenceRoutes(Forwarder(self.router, self.endpoints, in_flight), reload_meanwhile)
        client = Client(site_of(Front(app_with(routes.add_to)), max_body=100_000))
        client.ask("POST", CHAT, b'{"model": "d", "x": {"y": "%b"}}' % (b"y" * 20_000))
        self.assertEqual(client.error(), (404, "peer deep was taken out of the configuration"))
        self.assertEqual(list(in_flight), [])

    def test_nowhere_to_send(self) -> None:
        """A request that cannot even be begun is none of those under way, so that it does not stand in others' way."""
        self.router.config = evolve(CONFIG, global_concurrency_limit=1)
        for peer, name in (("p", "m"), ("odd", "o")):
            if peer == "p":
                self.endpoints.defects.append(ZeroDivisionError())
            self.client.ask("POST", CHAT, b'{"model": "%b"}' % name.encode())
            self.assertEqual(self.client.error(), (500, DEFECT))
            self.assertEqual((list(self.in_flight), len(self.flushLoggedErrors())), ([], 1))
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        self.sent()

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

    def test_what_a_peer_says(self) -> None:
        """What it has without being configured is reached in every way, the longest name that exists first."""
        self.peers.saw("any", Seen(("q", "q/r")))
        for name in (b"q", b"any/q"):
            self.client.ask("POST", CHAT, b'{"model": "%s"}' % name)
            self.assertTrue(self.sent().endswith('\r\n\r\n{"model": "q"}'))
        for name, rest in (("any/q", "/x"), ("q", "/x"), ("any/q/r", "/"), ("any%2Fq%2Fr", "/"), ("q/s", "/")):
            self.client.ask("GET", f"/upstream/{name}{rest}")
            expected = "/s/" if name == "q/s" else rest
            self.assertTrue(self.sent().startswith(f"GET {expected} HTTP/1.1\r\nHost: any.example\r\n"), name)

    def test_made_up_names(self) -> None:
        """A client can make up models of a peer that does not say what it has, but no counts without end."""
        records = keep_records(self.clock, Retention())
        forwarder = Forwarder(self.router, self.endpoints, records.in_flight)
        self.client = Client(site_of(Front(app_with(InferenceRoutes(forwarder, Inline()).add_to))))
        for name in ("any/x", "any/y", "any/\U0001f600", "m"):
            self.client.ask("POST", CHAT, json.dumps({"model": name}).encode())
            self.assertEqual([noted.model for noted in records.in_flight], ["p/m" if name == "m" else name])
            self.sent()
        records.settle()
        counted = {name: tally.requests.total() for name, tally in records.tallies.items()}
        self.assertEqual(counted, {"any/*": 3, "p/m": 1})

    def test_what_a_peer_has_not_said(self) -> None:
        """Before a peer has said what it has, its models can be asked for, but not below `/upstream/`."""
        self.client.ask("POST", CHAT, b'{"model": "any/q"}')
        self.assertTrue(self.sent().endswith('\r\n\r\n{"model": "q"}'))
        self.client.ask("GET", "/upstream/any/q/x")
        status, message = self.client.error()
        self.assertEqual(status, 503)
        self.assertIn("peer any has not said yet what it has", message)
        self.peers.saw("any", Seen(()))
        self.client.ask("GET", "/upstream/any/q/x")
        self.assertEqual(self.client.error()[0], 404)

    def test_down(self) -> None:
        """Who did not answer when it was asked is tried all the same, but not for long; then who asks is told."""
        self.peers.saw("p", Seen(answers=False))
        doubted: list[str] = []
        self.peers.doubt = doubted.append
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        self.sent()
        self.assertEqual((self.endpoints.timeouts, doubted), ([5], ["p"]))
        self.clock.advance(TRIAL)
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        self.upstream.accept()
        self.clock.advance(TOO_LATE)
        advice = "; see whether it runs, and whether peers.p.proxy in the configuration is right"
        self.assertIn(advice, self.client.error()[1])
        self.assertEqual(doubted, ["p"])

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
        status, message = self.client.error()
        self.assertEqual(status, 502)
        self.assertEqual(
            message,
            "peer proxy error: peer p at http://peer.example:9/base: nobody listens there (connection refused); "
            "see whether it runs, and whether peers.p.proxy in the configuration is right",
        )

    def test_no_answer(self) -> None:
        """A peer that does not begin to answer is given up."""
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        self.upstream.accept()
        self.clock.advance(TOO_LATE)
        status, message = self.client.error()
        self.assertEqual(status, 502)
        self.assertIn("peer proxy error: peer p at http://peer.example:9/base: no answer within 60 s", message)

    def test_timeouts(self) -> None:
        """Each peer may have as long as the configuration says."""
        self.client.ask("POST", CHAT, b'{"model": "s"}')
        self.upstream.accept()
        self.clock.advance(4.9)
        self.assertEqual(self.client.wire.take(), b"")
        self.clock.advance(0.1)
        self.assertIn("no answer within 5 s", self.client.error()[1])
        self.assertEqual((self.endpoints.timeouts, self.endpoints.keepalives), ([3], [7]))

    def test_filters(self) -> None:
        """What is told a peer is changed as its filters say, by its own name for the model; forms are not."""
        for name in (b"strict/s", b"s"):
            self.client.ask("POST", CHAT, b'{"model": "%s", "top_p": 1, "n": 2}' % name)
            _, _, body = self.sent().partition("\r\n\r\n")
            self.assertEqual(json.loads(body), {"model": "s", "n": 1, "max_tokens": 5})
        self.client.ask("POST", CHAT, b"model=s&top_p=1", {"Content-Type": "application/x-www-form-urlencoded"})
        self.assertTrue(self.sent().endswith("\r\n\r\nmodel=s&top_p=1"))

    def test_slow_answer(self) -> None:
        """One that has begun may take its time."""
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        wire = self.upstream.accept()
        wire.deliver(OK[:-1])
        self.clock.advance(TOO_LATE)
        wire.deliver(OK[-1:])
        self.assertEqual(self.client.answer().body, b"OK")

    def test_the_end(self) -> None:
        """When the proxy shuts down, nothing new goes to a peer."""
        self.peers.closed = True
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        self.assertEqual(self.client.error(), (503, "llama-swap is shutting down"))

    def test_client_leaves(self) -> None:
        """Then the peer's work ends, too."""
        self.client.ask("POST", CHAT, b'{"model": "m"}')
        wire = self.upstream.accept()
        self.client.leave()
        self.assertTrue(wire.aborted)

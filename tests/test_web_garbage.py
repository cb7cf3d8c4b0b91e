"""What a request leaves behind when it is over: nothing that only the garbage collector could find."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config, Peer
from llama_swap.server.request import SMALL
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from tests.fakes import Inline
from tests.fakes_web import Endpoints, FakeRouter, app_with, models, site_of, unwatched
from tests.fakes_wire import Client, Wire

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n"


class GarbageTests(SynchronousTestCase):
    """Objects that hold each other stay until the collector comes by, and it takes longer than the request did."""

    def setUp(self) -> None:
        """Make the proxy."""
        peers = {"p": Peer(proxy="http://peer.example", models=("b",))}
        self.router = FakeRouter(Config(models=models("a"), peers=peers))
        self.endpoints = Endpoints()
        routes = InferenceRoutes(Forwarder(self.router, self.endpoints, unwatched()), Inline())
        self.front = Front(app_with(routes.add_to), routes.direct())
        self.site = site_of(self.front, max_body=1_000_000)

    def ask(self, model: str = "a") -> tuple[Client, Wire]:
        """Send a request for a model; return its client, and its connection to the upstream."""
        client = Client(self.site)
        client.ask("POST", "/v1/chat/completions", b'{"model":"%b"}' % model.encode())
        if self.router.pending:
            self.router.grant()
        return client, self.endpoints.upstream.accept()

    def assert_no_garbage(self, ends: Callable[[Client, Wire], None], model: str = "a") -> None:
        """Have a request end so, and look at what is left that nobody can reach."""

        def live() -> None:
            client, wire = self.ask(model)
            ends(client, wire)
            _let_go(client.wire, wire)

        self.assert_nothing_left(live)

    def assert_refused_without_garbage(self, request: bytes) -> None:
        """Have a request refused, and do the same."""

        def live() -> None:
            client = Client(self.site)
            client.send(request)
            self.assertRegex(client.wire.take(), rb"HTTP/1.1 40[01] ")
            _let_go(client.wire)

        self.assert_nothing_left(live)

    def assert_nothing_left(self, live: Callable[[], None]) -> None:
        """Look at what a request leaves that nobody can reach."""
        live()
        self.addCleanup(gc.enable)
        gc.disable()
        gc.collect()
        live()
        self.addCleanup(gc.garbage.clear)
        self.addCleanup(gc.set_debug, gc.get_debug())
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = Counter(type(each).__name__ for each in gc.garbage)
        self.assertEqual(left, Counter())

    def test_answered(self) -> None:
        """With an answer."""
        self.assert_no_garbage(lambda client, wire: wire.deliver(OK))

    def test_answered_at_once(self) -> None:
        """With an answer from a model for which nobody had to wait."""
        self.router.free.add("a")
        self.assert_no_garbage(lambda client, wire: wire.deliver(OK))

    def test_answered_by_a_peer(self) -> None:
        """With an answer from a model of a peer."""
        self.assert_no_garbage(lambda client, wire: wire.deliver(OK), "b")

    def test_broken_off(self) -> None:
        """With an answer that breaks off."""

        def break_off(client: Client, wire: Wire) -> None:
            wire.deliver(CHUNKED)
            wire.lose()

        self.assert_no_garbage(break_off)

    def test_client_leaves(self) -> None:
        """With a client that leaves before the answer has ended."""

        def leave(client: Client, wire: Wire) -> None:
            wire.deliver(CHUNKED)
            client.leave()

        self.assert_no_garbage(leave)

    def test_refused_while_it_came(self) -> None:
        """With a large body that was refused before its end."""
        body = b'{"model":"a",}' + b"x" * SMALL
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.assert_refused_without_garbage(head + body)

    def test_no_key(self) -> None:
        """With a request that has no key."""
        self.site = site_of(self.front, max_body=1_000_000, api_keys=("k",))
        self.assert_refused_without_garbage(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")


def _let_go(*wires: Wire) -> None:
    for wire in wires:
        wire.lose()
        wire.__dict__.clear()  # as Twisted lets its protocol go

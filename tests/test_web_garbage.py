"""What a request leaves behind when it is over: nothing that only the garbage collector could find."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from llama_swap.config.model import Config
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
        self.router = FakeRouter(Config(models=models("a")))
        self.endpoints = Endpoints()
        routes = InferenceRoutes(Forwarder(self.router, self.endpoints, unwatched()), Inline())
        self.site = site_of(Front(app_with(routes.add_to), routes.direct()), max_body=1000)

    def ask(self) -> tuple[Client, Wire]:
        """Send a request; return its client, and its connection to the upstream."""
        client = Client(self.site)
        client.ask("POST", "/v1/chat/completions", b'{"model":"a"}')
        if self.router.pending:
            self.router.grant()
        return client, self.endpoints.upstream.accept()

    def assert_no_garbage(self, ends: Callable[[Client, Wire], None]) -> None:
        """Have a request end so, and look at what is left that nobody can reach."""

        def live() -> None:
            client, wire = self.ask()
            ends(client, wire)
            for each in (client.wire, wire):
                each.lose()
                each.__dict__.clear()  # as Twisted lets its protocol go

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

"""A site whose every request is relayed to one upstream, with both ends in memory."""

from __future__ import annotations

from typing import Any

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource

from llama_swap.errors import SwapError
from llama_swap.http.headers import OutboundRequest
from llama_swap.relay.resource import ReverseProxyResource
from llama_swap.server.errors import refuse
from tests.fakes_web import site_of
from tests.fakes_wire import Client, Upstream, Wire, request_to

OK = b"HTTP/1.1 200 OK\r\n"
STREAM = OK + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


class Requesting:
    """The requester of one request, which tells its root."""

    def __init__(self, root: Root, request: Request) -> None:
        self._root = root
        self._uri = request.uri.decode()

    def over(self, error: SwapError | None) -> None:
        """See `Requester.over`."""
        self._root.over += 1
        self._root.errors.append(error)
        self._root.order.append(f"over {self._uri}")

    def unanswered(self, request: Request, error: SwapError) -> None:
        """See `Requester.unanswered`."""
        self._root.unanswered(request, error)

    def joined(self) -> None:
        """See `Requester.joined`."""


class Root(Resource):
    """Relays every request, and counts those that are over."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.upstream = Upstream()
        self.pool = self.upstream.pool()
        self.over = 0
        self.order: list[str] = []
        self.errors: list[SwapError | None] = []
        self.seen: list[object] = []

    def outbound(self, request: Request) -> OutboundRequest:
        """Return the request that goes upstream."""
        return request_to(request.uri, method=request.method)

    def render(self, request: Request) -> Any:
        """See `IResource.render`."""
        self.order.append(f"began {request.uri.decode()}")
        self.relayed = ReverseProxyResource(
            self.outbound(request), self.pool, "model m at http://h", Requesting(self, request), self
        )
        return self.relayed.render(request)

    def unanswered(self, request: Request, error: SwapError) -> None:
        """Answer a request that has got no answer."""
        refuse(request, error)

    def begin(self, status: int, fields: tuple[tuple[bytes, bytes], ...], *, chunked: bool) -> None:
        """See `AnswerObserver.begin`."""
        self.seen.append((status, chunked))

    def data(self, data: bytes) -> None:
        """See `AnswerObserver.data`."""
        self.seen.append(data)


class RelayTestCase(SynchronousTestCase):
    """One client, and an upstream that is asked by it."""

    def setUp(self) -> None:
        """Make both ends."""
        self.root = Root()
        self.upstream = self.root.upstream
        self.client = Client(site_of(self.root))
        self.logged: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def ask(self, method: str = "GET", version: str = "HTTP/1.1") -> Wire:
        """Send a request, and accept the connection that it causes."""
        self.client.ask(method, "/", version=version)
        return self.upstream.accept()

    def seen(self, *answer: bytes, method: str = "GET", version: str = "HTTP/1.1") -> bytes:
        """Return what the client sees when an upstream answers with these packets, and closes."""
        wire = self.ask(method, version)
        for packet in answer:
            wire.deliver(packet)
        wire.lose()
        self.assertEqual(self.root.over, 1)
        return self.client.wire.take()

    def assert_no_defect(self) -> None:
        """Nothing was logged with a traceback."""
        self.assertEqual([event for event in self.logged if event.get("log_failure")], [])

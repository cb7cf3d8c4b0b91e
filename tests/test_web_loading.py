"""Streams that say what they wait for; `tests/test_blackbox_loading_state.py` has the rest."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from llama_swap.bodies.spool import Spool, Spooled
from llama_swap.config.model import Config
from llama_swap.errors import Cancelled, StartFailed, SwapError
from llama_swap.http.chunked import LAST_CHUNK
from llama_swap.relay.resource import ReverseProxyResource
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.front import Front
from llama_swap.web.inference import InferenceRoutes
from llama_swap.web.loading import BEAT, OpenStream, wants_stream
from tests.fakes import Inline
from tests.fakes_web import Endpoints, FakeRouter, app_with, models, site_of, unwatched
from tests.fakes_wire import Client, Wire
from tests.support_relay import STREAM, RelayTestCase, Requesting, Root

CHAT = b"/v1/chat/completions"
CONFIG = Config(models=models("m", send_loading_state=True))
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 14\r\n\r\n"
ANSWER = b"data: [DONE]\n\n"
TIMEOUT = 5.0


class Loading(Root):
    """Relays every request into a stream that has begun already."""

    def render(self, request: Request) -> Any:
        """See `IResource.render`."""
        self.opened = opened = OpenStream(request, Clock(), "m", 1)
        opened.loaded()
        self.relayed = ReverseProxyResource(
            self.outbound(request),
            self.pool,
            "model m at http://h",
            Requesting(self, request),
            self,
            header_timeout=TIMEOUT,
            sink=opened.sink,
        )
        return self.relayed.render(request)

    def unanswered(self, request: Request, error: SwapError) -> None:
        """See `Root.unanswered`."""
        self.opened.fail(error)


class OpenStreamTests(RelayTestCase):
    """A model's answer, or an error, in a stream that has begun already."""

    def setUp(self) -> None:
        """Begin the stream."""
        super().setUp()
        self.root = Loading()
        self.upstream = self.root.upstream
        self.client = Client(site_of(self.root))

    def data(self) -> list[Any]:
        """Return the data of the events of a whole answer, without those about loading."""
        events = self.client.answer().body.decode().split("\n\n")[:-1]
        return [json.loads(event.removeprefix("data: ")) for event in events if "loading" not in event]

    def test_answer(self) -> None:
        """An answer follows; however long it then takes, its head was there in time."""
        wire = self.ask()
        wire.deliver(STREAM)
        self.upstream.clock.advance(TIMEOUT)
        wire.deliver(b"a\r\ndata: {}\n\n\r\n0\r\n\r\n")
        self.assertEqual((self.data(), self.root.errors), ([{}], [None]))

    def test_no_answer_in_time(self) -> None:
        """`timeouts.responseHeader` holds here as well, and its error is an event, which names the model."""
        wire = self.ask()
        self.upstream.clock.advance(TIMEOUT)
        [event] = self.data()
        self.assertIn("model m at http://h: no answer within 5 s", event["error"]["message"])
        self.assertTrue(wire.aborted)

    def test_broken(self) -> None:
        """What breaks before its first byte is an error, which names the model."""
        for data in (b"", b"HTTP/1.1 200"):
            self.setUp()
            wire = self.ask()
            wire.deliver(data)
            wire.lose()
            [event] = self.data()
            self.assertIn("model m at http://h: it closed the connection", event["error"]["message"])
            self.assertEqual(event["error"]["code"], "bad_gateway")

    def test_breaks_off(self) -> None:
        """What breaks behind its first byte ends with an error that says so, and does not look whole."""
        wire = self.ask()
        wire.deliver(STREAM + b"a\r\ndata: {}\n\n\r\n")
        wire.lose()
        seen = self.client.wire.take()
        self.assertIn(b"the model's answer broke off: it closed the connection", seen)
        self.assertFalse(seen.endswith(LAST_CHUNK))
        self.assertTrue(self.client.wire.disconnecting)


class WantsStreamTests(SynchronousTestCase):
    """`wants_stream`."""

    def test_small(self) -> None:
        """Only a chat that asks for a stream does; a body that nobody has checked may be anything."""
        self.assertTrue(wants_stream(CHAT, b'{"stream":true}'))
        self.assertTrue(wants_stream(CHAT + b"?x", b'{"stream":false,"stream":true}'))
        self.assertFalse(wants_stream(b"/v1/completions", b'{"stream":true}'))
        deep, long = b"[" * 100_000, b'{"stream":true,"n":%b}' % (b"1" * 5000)
        for body in (None, b"", b"{", b"\xff", b"[]", b"{}", b'{"stream":1}', b'{"stream":"true"}', deep, long):
            self.assertFalse(wants_stream(CHAT, body), body)

    def test_large(self) -> None:
        """Of a body that is not in memory, it is known from elsewhere."""
        for streams in (True, False):
            self.assertEqual(wants_stream(CHAT, Spooled(Spool(), streams=streams)), streams)
        self.assertFalse(wants_stream(b"/v1/completions", Spooled(Spool(), streams=True)))


class WaitingTests(SynchronousTestCase):
    """Requests that wait for their model, with client, upstream and time in memory."""

    def setUp(self) -> None:
        self.router: Any = FakeRouter(CONFIG)
        self.clock = self.router.clock
        self.endpoints = Endpoints()
        self.in_flight = unwatched()
        routes = InferenceRoutes(Forwarder(self.router, self.endpoints, self.in_flight), Inline())
        self.site = site_of(Front(app_with(routes.add_to)))
        self.client = self.asking()

    def asking(self) -> Client:
        """Return a client that asks for a streamed answer."""
        client = Client(self.site)
        client.ask("POST", CHAT.decode(), b'{"model":"m","stream":true}', {"Accept-Encoding": "gzip"})
        return client

    def upstream(self) -> Wire:
        """The model is ready: let its requests through, and return the connection that is made for the first."""
        self.router.grant()
        return self.endpoints.upstream.accept()

    def said(self) -> str:
        """Take what the client is told before the answer; nothing else has come."""
        chunks = [json.loads(data) for data in re.findall(rb"data: (\{.*\})\n\n", self.client.wire.take())]
        return "".join(chunk["choices"][0]["delta"]["reasoning_content"] for chunk in chunks)

    def whole(self) -> list[bytes]:
        """Take the whole answer, and return its events; nothing is left behind."""
        answer = self.client.answer()
        self.assertEqual((answer.status, answer["Content-Type"]), (200, "text/event-stream"))
        self.assert_over()
        return answer.body.split(b"\n\n")[:-1]

    def assert_over(self) -> None:
        """The request has left nothing behind."""
        self.assertEqual((list(self.in_flight), self.clock.getDelayedCalls()), ([], []))

    def error(self) -> tuple[str, str]:
        """Take a whole answer whose last event is an error; return its code and message."""
        error = json.loads(self.whole()[-1].removeprefix(b"data: "))["error"]
        return error["code"], error["message"]

    def test_progress(self) -> None:
        """What is loaded is told at once; then there are dots, then how long it took."""
        self.assertRegex(self.said(), r"^━+\nllama-swap loading model: m\n$")
        for _ in range(2):
            self.clock.advance(BEAT)
            self.assertEqual(self.said(), ".")
        self.upstream()
        self.assertRegex(self.said(), r"^\nDone! \(1\.50s\)\n━+\n\n$")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_queue(self) -> None:
        """Who is not the first to wait is told its place."""
        self.client = self.asking()
        self.assertIn("Queue position: #2\n", self.said())

    def test_answer(self) -> None:
        """The answer follows in the same stream; it must not be compressed, so nobody asks the model for that."""
        upstream = self.upstream()
        self.assertNotIn(b"gzip", upstream.take())
        upstream.deliver(OK + ANSWER[:5])
        upstream.deliver(ANSWER[5:])
        self.assertEqual(self.whole()[-1] + b"\n\n", ANSWER)

    def test_backpressure(self) -> None:
        """The model is not read faster than its client reads."""
        upstream = self.upstream()
        upstream.deliver(OK)
        self.client.wire.fill()
        self.assertTrue(upstream.paused)
        self.client.wire.drain()
        self.assertFalse(upstream.paused)

    def test_failed_load(self) -> None:
        """Why the model could not be loaded is the last event."""
        self.router.pending.pop()[1].errback(StartFailed("it exited with 1"))
        self.assertEqual(self.error(), ("bad_gateway", "it exited with 1"))

    def test_withdrawn(self) -> None:
        """Who ended the request while it waited is the last event."""
        (noted,) = self.in_flight
        noted.cancel(Cancelled("by hand"))
        self.assertIn("by hand", self.error()[1])
        self.assertEqual(self.router.cancelled, 1)

    def test_refused(self) -> None:
        """The model's own error, of which no more than its beginning is kept, is told as an event."""
        upstream = self.upstream()
        upstream.deliver(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 10000\r\n\r\n")
        for _ in range(10):
            upstream.deliver(b"x" * 1000)
        self.assertEqual(self.error(), ("bad_gateway", f"the model answered with status 400: {'x' * 4096}"))

    def test_client_leaves(self) -> None:
        """Who leaves while its model is loaded waits no longer, and hears no dots."""
        self.client.leave()
        self.assertEqual(self.router.cancelled, 1)
        self.assert_over()

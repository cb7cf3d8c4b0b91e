"""Streams that say what they wait for; `tests/test_blackbox_loading_state.py` has the rest."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request

from llama_swap.bodies.spool import Spool, Spooled
from llama_swap.errors import SwapError
from llama_swap.http.chunked import LAST_CHUNK
from llama_swap.relay.resource import ReverseProxyResource
from llama_swap.web.loading import OpenStream, wants_stream
from tests.fakes_web import site_of
from tests.fakes_wire import Client
from tests.support_relay import STREAM, RelayTestCase, Root

CHAT = b"/v1/chat/completions"
TIMEOUT = 5.0


class Loading(Root):
    """Relays every request into a stream that has begun already."""

    def render(self, request: Request) -> Any:
        """See `IResource.render`."""
        opened = OpenStream(request, Clock(), "m", 1)
        opened.loaded()

        def refuse(_: Request, error: SwapError) -> None:
            opened.fail(error)

        self.relayed = ReverseProxyResource(
            self.outbound(request),
            self.pool,
            "model m at http://h",
            refuse=refuse,
            over=self.errors.append,
            observer=self,
            header_timeout=TIMEOUT,
            sink=opened.sink,
        )
        return self.relayed.render(request)


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

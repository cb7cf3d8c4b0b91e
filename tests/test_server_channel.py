"""A client's connection: what is read, what is refused, and how long anybody is waited for."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from llama_swap.server import site
from llama_swap.server.channel import (
    HEAD_TIMEOUT,
    IDLE_TIMEOUT,
    LINGER,
    PIPELINED,
    STALL_TIMEOUT,
)
from llama_swap.server.heads import HEAD_LIMIT
from llama_swap.server.patience import LEAST
from llama_swap.server.request import SwapRequest, body_of
from llama_swap.server.site import GIVE_BACK_AFTER
from llama_swap.server.uploads import LEAST as LEAST_AT_ONCE
from llama_swap.server.uploads import LONG, OF_BODY_AT_ONCE
from tests.fakes_web import site_of
from tests.fakes_wire import Client, read_answer
from tests.support_smuggling import BODY, DOUBTFUL_CHUNKS, DOUBTFUL_HEADS, request

GET = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n"


class Root(Resource):
    """Notes the requests; answers when the test says so, or at once those for `/now`."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Any] = []
        self.bodies: list[bytes | None] = []
        self.gone: list[bytes] = []

    def render(self, request: Request) -> Any:
        """See `IResource.render`."""
        self.requests.append(request)
        self.bodies.append(body_of(request))
        request.notifyFinish().addErrback(lambda _: self.gone.append(request.uri))
        return request.uri if request.uri.startswith(b"/now") else NOT_DONE_YET

    def answer(self) -> None:
        """Answer the latest request."""
        self.requests[-1].write(self.requests[-1].uri)
        self.requests[-1].finish()

    @property
    def seen(self) -> list[bytes]:
        """The targets of all requests."""
        return [request.uri for request in self.requests]


class ChannelTestCase(SynchronousTestCase):
    """One client."""

    def setUp(self) -> None:
        """Connect."""
        self.clock = Clock()
        self.root = Root()
        self.client = self.connect()

    def connect(self) -> Client:
        """Return one more client."""
        return Client(site_of(self.root, self.clock))

    def end(self) -> None:
        """Check that nothing is left when the client is gone."""
        self.client.wire.settle()
        self.client.leave()
        self.clock.advance(GIVE_BACK_AFTER)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ReadingTests(ChannelTestCase):
    """Honest requests."""

    def test_any_packets(self) -> None:
        """Requests are the same in one packet, byte by byte, and in order."""
        stream = (
            GET % b"/now/1"
            + request(b"Content-Length: 14", line=b"POST /now/2 HTTP/1.1") + BODY
            + request(b"Transfer-Encoding: chunked", line=b"POST /now/3 HTTP/1.1") + b"e\r\n" + BODY + b"\r\n0\r\n\r\n"
            + b"\r\n" + GET % b"/now/4"
        )  # fmt: skip
        for size in (1, 2, 7, len(stream)):
            self.setUp()
            for start in range(0, len(stream), size):
                self.client.send(stream[start : start + size])
            self.assertEqual(self.root.seen, [b"/now/1", b"/now/2", b"/now/3", b"/now/4"])
            self.assertEqual(self.root.bodies, [None, BODY, BODY, None])
            self.assertEqual(self.client.wire.take().count(b"HTTP/1.1 200 OK\r\n"), 4)
            self.end()

    def test_more_of_a_body_at_once(self) -> None:
        """A body that does not come whole at once is read in larger parts, and what follows it is not."""
        wire = self.client.wire
        for framing, body in (
            (b"Content-Length: 14", BODY),
            (b"Transfer-Encoding: chunked", b"e\r\n" + BODY + b"\r\n0\r\n\r\n"),
        ):
            self.client.send(request(framing, line=b"POST /now HTTP/1.1") + body[:5])
            self.assertEqual(wire.bufferSize, OF_BODY_AT_ONCE)
            self.client.send(body[5:])
            self.assertEqual(wire.bufferSize, FileDescriptor.bufferSize)
        self.assertEqual(self.root.bodies, [BODY, BODY])
        self.end()

    def test_parts_of_many_bodies(self) -> None:
        """Bodies that come side by side share what is read in one turn, down to a least part, while they come."""
        proxy = site_of(self.root, self.clock)
        clients = [Client(proxy) for _ in range(4)]
        begin = request(b"Content-Length: 14", line=b"POST /now HTTP/1.1")
        for count, client in enumerate(clients, 1):
            client.send(begin + BODY[:5])
            self.assertEqual(client.wire.bufferSize, OF_BODY_AT_ONCE // count)
        clients[0].send(BODY[5:])
        clients[1].wire.lose()
        clients[2].send(BODY[5:6])
        self.assertEqual(clients[2].wire.bufferSize, OF_BODY_AT_ONCE // 2)
        crowd = [Client(proxy) for _ in range(100)]
        for client in crowd:
            client.send(begin + BODY[:5])
        self.assertEqual(crowd[-1].wire.bufferSize, LEAST_AT_ONCE)
        for client in (*clients[2:], *crowd):
            client.wire.lose()
        last = Client(proxy)
        last.send(begin + BODY[:5])
        self.assertEqual(last.wire.bufferSize, OF_BODY_AT_ONCE)
        last.wire.lose()

    def test_parts_that_take_long(self) -> None:
        """A body that takes long to be checked is read in parts of the usual size: others have their turn between."""
        wire, check = self.client.wire, SwapRequest.handleContentChunk
        seconds = LONG

        def slowly(request: SwapRequest, data: bytes) -> None:
            check(request, data)
            self.clock.advance(seconds * len(data) / OF_BODY_AT_ONCE)

        self.patch(SwapRequest, "handleContentChunk", slowly)
        self.client.send(request(b"Content-Length: 14", line=b"POST /now HTTP/1.1") + BODY[:5])
        self.assertEqual(wire.bufferSize, FileDescriptor.bufferSize)
        seconds = LONG / 2
        self.client.send(BODY[5:10])
        self.assertEqual(wire.bufferSize, OF_BODY_AT_ONCE)
        seconds = LONG * 2
        self.client.send(BODY[10:13])
        self.assertEqual(wire.bufferSize, FileDescriptor.bufferSize)
        self.client.send(BODY[13:])
        self.assertEqual(self.root.bodies, [BODY])
        self.end()

    def test_close(self) -> None:
        """After a request that closes the connection, nothing is read."""
        self.client.send(b"GET /now HTTP/1.1\r\nHost: h\r\nConnection: foo, close\r\n\r\n" + GET % b"/now/2")
        answer = self.client.answer()
        self.assertEqual((answer.status, answer["Connection"]), (200, "close"))
        self.assertEqual(self.root.seen, [b"/now"])
        self.assertTrue(self.client.wire.disconnecting)
        self.end()

    def test_many_at_once(self) -> None:
        """However many requests come in one packet, they are answered one after the other, without recursion."""
        count = 5000
        self.client.send(GET % b"/now" * count)
        self.assertEqual(len(self.root.requests), count)
        self.end()


class PipeliningTests(ChannelTestCase):
    """Requests behind one that is being answered."""

    def test_in_order(self) -> None:
        """The next request begins when the one before it has been answered."""
        self.client.send(GET % b"/1" + GET % b"/2")
        self.client.send(GET % b"/3")
        for number in (b"/1", b"/2", b"/3"):
            self.assertEqual(self.root.seen[-1], number)
            self.root.answer()
            self.assertIn(number, self.client.wire.take())
        self.end()

    def test_too_much(self) -> None:
        """Whoever sends too much behind a running request loses it, and the connection."""
        self.client.send(GET % b"/1" + b"x" * PIPELINED)
        self.assertFalse(self.client.wire.aborted)
        self.client.send(b"x")
        self.assertTrue(self.client.wire.aborted)
        self.client.wire.settle()
        self.assertEqual(self.root.gone, [b"/1"])
        self.end()

    def test_in_one_packet(self) -> None:
        """The same if it comes in the packet of the request."""
        self.client.send(GET % b"/1" + b"x" * (PIPELINED + 1))
        self.assertTrue(self.client.wire.aborted)
        self.end()

    def test_leaving(self) -> None:
        """A client that leaves is noticed, whatever it sent behind its request."""
        self.client.send(GET % b"/1" + b"x" * PIPELINED)
        self.assertFalse(self.client.wire.paused)
        self.client.leave()
        self.assertEqual(self.root.gone, [b"/1"])
        self.assertEqual(self.root.seen, [b"/1"])
        self.end()

    def test_answers_that_nobody_reads(self) -> None:
        """Nothing new is begun for a client that does not read what it has got; it still may not send without end."""
        self.client.send(GET % b"/1" + GET % b"/now")
        self.client.wire.fill()
        self.root.answer()
        self.assertEqual(self.root.seen, [b"/1"])
        self.client.wire.drain()
        self.assertEqual(self.root.seen, [b"/1", b"/now"])
        self.client.wire.fill()
        self.client.send(b"x" * (PIPELINED + 1))
        self.assertTrue(self.client.wire.aborted)
        self.end()


class RefusalTests(ChannelTestCase):
    """What is no request."""

    def refused(self, data: bytes, status: int, code: str) -> None:
        """Check that `data` has one answer, an error, and that nothing but the close follows."""
        self.setUp()
        self.client.send(data)
        seen = self.client.wire.take()
        self.assertEqual(seen.count(b"HTTP/1.1 "), 1, data[:100])
        answer = read_answer(seen)
        self.assertEqual((answer.status, answer["Connection"]), (status, "close"), data[:100])
        self.assertEqual(answer["Content-Type"], "application/json")
        self.assertEqual(json.loads(answer.body)["error"]["code"], code)
        self.assertTrue(self.client.wire.write_closed)
        self.client.send(GET % b"/now")
        self.assertEqual(self.client.wire.take(), b"")
        self.clock.advance(LINGER)
        self.assertTrue(self.client.wire.disconnecting)
        self.assertEqual(self.root.seen, [])
        self.end()

    def test_doubtful_heads(self) -> None:
        """Heads that could be read in two ways are refused, with whatever follows."""
        for head in DOUBTFUL_HEADS:
            self.refused(head + BODY + GET % b"/now", 400, "bad_request")

    def test_doubtful_heads_byte_by_byte(self) -> None:
        """The same if they come byte by byte."""
        for head in DOUBTFUL_HEADS:
            self.setUp()
            for byte in head:
                self.client.send(bytes([byte]))
            self.assertEqual(read_answer(self.client.wire.take()).status, 400, head)
            self.assertEqual(self.root.seen, [])

    def test_doubtful_chunks(self) -> None:
        """So are bodies whose chunks could be read in two ways, before anybody has seen the request."""
        for chunks in DOUBTFUL_CHUNKS:
            self.refused(request(b"Transfer-Encoding: chunked") + chunks % BODY + GET % b"/now", 400, "bad_request")

    def test_large_heads(self) -> None:
        """A head of 60 KiB is read; one of 70 KiB, or of 201 fields, is 431."""
        start = b"GET /now HTTP/1.1\r\nHost: h\r\n"
        self.client.send(start + b"X: " + b"x" * 60 * 1024 + b"\r\n\r\n")
        self.assertEqual(self.client.answer().status, 200)
        self.refused(start + b"X: " + b"x" * 70 * 1024 + b"\r\n\r\n", 431, "head_too_large")
        self.refused(start + b"X: " + b"x" * HEAD_LIMIT, 431, "head_too_large")
        self.refused(start + b"X: 1\r\n" * 200 + b"\r\n", 431, "head_too_large")

    def test_behind_an_answer(self) -> None:
        """A malformed request behind a good one does not cost the good one its answer."""
        self.client.send(GET % b"/1" + b"\x16\x03\x01")
        self.root.answer()
        answers = self.client.wire.take()
        self.assertLess(answers.index(b"200 OK"), answers.index(b"400 Bad Request"))
        self.end()


class PatienceTests(ChannelTestCase):
    """How long a client is waited for."""

    def gone_after(self, seconds: float) -> None:
        """Check that the connection lasts so long, and not longer."""
        self.clock.advance(seconds - 0.01)
        self.assertFalse(self.client.wire.disconnecting)
        self.clock.advance(0.01 + LEAST)
        self.assertTrue(self.client.wire.disconnecting)
        self.end()

    def test_nothing_comes(self) -> None:
        """A connection on which nothing happens is closed."""
        self.gone_after(IDLE_TIMEOUT)

    def test_while_it_closes(self) -> None:
        """A request that crosses the end of its connection, as it can with TLS, is not read: no answer could leave."""
        self.clock.advance(IDLE_TIMEOUT + LEAST)
        self.assertTrue(self.client.wire.disconnecting)
        self.client.send(GET % b"/1")
        self.assertEqual(self.root.seen, [])
        self.end()

    def test_after_an_answer(self) -> None:
        """The same after each answer."""
        for _ in range(3):
            self.clock.advance(IDLE_TIMEOUT * 0.9)
            self.client.send(GET % b"/now")
        self.gone_after(IDLE_TIMEOUT)

    def test_slow_head(self) -> None:
        """A head has its time as a whole, however steadily it drips, and on a connection of any age."""
        self.clock.advance(IDLE_TIMEOUT * 0.7)
        self.client.send(GET % b"/now")
        self.clock.advance(IDLE_TIMEOUT * 0.7)
        self.client.send(b"G")
        for _ in range(9):
            self.clock.advance(HEAD_TIMEOUT / 10)
            self.client.send(b"E")
        self.gone_after(HEAD_TIMEOUT / 10)

    def test_slow_body(self) -> None:
        """A body may take its time, as long as it goes on."""
        self.client.send(request(b"Content-Length: 14"))
        for byte in BODY[:-1]:
            self.clock.advance(IDLE_TIMEOUT * 0.9)
            self.client.send(bytes([byte]))
        self.gone_after(IDLE_TIMEOUT)
        self.assertEqual(self.root.seen, [])

    def test_late_body(self) -> None:
        """A body may begin late, whatever time was left when its head came, in one packet or in two."""
        for fields in ((), (b"Expect: 100-continue",)):
            for cut in (0, 10):
                self.setUp()
                self.clock.advance(IDLE_TIMEOUT * 0.9)
                head = request(b"Content-Length: 14", *fields)
                self.client.send(head[:cut])
                self.client.send(head[cut:])
                self.gone_after(IDLE_TIMEOUT)

    def test_slow_answer(self) -> None:
        """An answer may take its time."""
        self.client.send(GET % b"/1")
        self.clock.advance(100 * IDLE_TIMEOUT)
        self.assertFalse(self.client.wire.disconnecting)
        self.root.answer()
        self.gone_after(IDLE_TIMEOUT)

    def test_stalled_reader(self) -> None:
        """A client that does not read is dropped, at once: a polite close would wait for it."""
        self.client.send(GET % b"/1")
        self.client.wire.fill()
        self.clock.advance(STALL_TIMEOUT * 0.9)
        self.client.wire.drain()
        self.clock.advance(STALL_TIMEOUT * 0.9)
        self.client.wire.fill()
        self.clock.advance(STALL_TIMEOUT)
        self.assertTrue(self.client.wire.aborted)
        self.client.wire.settle()
        self.assertEqual(self.root.gone, [b"/1"])
        self.end()

    def test_memory_is_given_back(self) -> None:
        """When slow readers have left, the memory that they held is given back, once for all of them."""
        given: list[int] = []
        self.patch(site, "give_back", lambda: given.append(1))
        self.client.leave()
        proxy = site_of(self.root, self.clock)
        clients = [Client(proxy) for _ in range(3)]
        for client in clients:
            client.send(GET % b"/1")
            client.wire.fill()
            client.leave()
        self.clock.advance(GIVE_BACK_AFTER)
        self.assertEqual((given, self.clock.getDelayedCalls()), ([1], []))

    def test_last_answer_that_nobody_reads(self) -> None:
        """The same where the connection would close behind its answer."""
        self.client.send(b"GET /now HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        self.assertFalse(self.client.wire.aborted)
        self.clock.advance(STALL_TIMEOUT)
        self.assertTrue(self.client.wire.aborted)
        self.end()


class ProtocolTests(SynchronousTestCase):
    """What is spoken."""

    def test_no_http2(self) -> None:
        """Within TLS, only HTTP/1.1 is offered."""
        self.assertEqual(site_of(Root()).acceptableProtocols(), [b"http/1.1"])

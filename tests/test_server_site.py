"""twisted.web with the limits and manners of a proxy: bodies, their limit, the access log."""

from __future__ import annotations

import json
import socket
import tempfile
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest

from llama_swap.bodies.spool import IN_MEMORY
from llama_swap.http.headers import Body
from llama_swap.logs.observer import event_lines
from llama_swap.server.channel import DISCARDED, LINGER, SwapChannel
from llama_swap.server.request import SMALL, body_of
from tests.fakes_web import site_of
from tests.fakes_wire import CLIENT, Client, read_answer
from tests.support_processes import own_files

LIMIT = 1000


class Echo(Resource):
    """Answers with the body; `/never` does not answer at all."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes | Body | None] = []
        self.requests: list[Request] = []

    def render(self, request: Request) -> Any:
        """See `IResource.render`."""
        self.requests.append(request)
        self.bodies.append(body_of(request))
        if request.path == b"/never":
            return NOT_DONE_YET
        body = self.bodies[-1] or b""
        return body if isinstance(body, bytes) else b"".join(body.pieces())


class SiteTestCase(SynchronousTestCase):
    """One client of a site that echoes."""

    log = False

    def setUp(self) -> None:
        """Make both."""
        self.clock = Clock()
        self.echo = Echo()
        self.client = self.connect()

    def connect(self, address: IAddress = CLIENT) -> Client:
        """Return one more client."""
        return Client(site_of(self.echo, self.clock, max_body=LIMIT, log=self.log), address)


class BodyTests(SiteTestCase):
    """Bodies that are not too large."""

    def test_none_and_empty(self) -> None:
        """No body is not an empty one."""
        self.client.ask("GET", "/")
        self.client.ask("POST", "/", b"")
        self.client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        self.assertEqual(self.echo.bodies, [None, b"", b""])

    def test_in_packets(self) -> None:
        """A body is what all its packets held."""
        body = bytes(range(256))
        self.client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 256\r\n\r\n")
        for byte in body:
            self.client.send(bytes([byte]))
        self.client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        for byte in body:
            self.client.send(b"1\r\n%c\r\n" % byte)
        self.client.send(b"0\r\nX-Trailer: 1\r\n\r\n")
        self.assertEqual(self.echo.bodies, [body, body])

    def test_expect(self) -> None:
        """Who asks whether to send a body is told to."""
        self.client.ask("POST", "/", headers={"Expect": "100-continue", "Content-Length": "2"})
        self.assertEqual(self.client.wire.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.client.send(b"ab")
        self.assertEqual(self.client.answer().body, b"ab")

    def test_of_any_size(self) -> None:
        """Small, large and very large bodies are what was sent, however they are framed; forms are not taken apart."""
        site = site_of(self.echo, self.clock, max_body=10_000_000)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for size in (SMALL, SMALL + 1, IN_MEMORY, IN_MEMORY + 1, 3_000_000):
            body = (b"a=%d&" % size * size)[:size]
            client = Client(site)
            client.ask("POST", "/", body, form)
            self.assertTrue(client.answer().body == body, size)
            client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, size, 100_000):
                client.send(b"%x\r\n%b\r\n" % (len(part := body[start : start + 100_000]), part))
            client.send(b"0\r\n\r\n")
            self.assertTrue(client.answer().body == body, size)
        self.assertEqual([request.args for request in self.echo.requests], [None] * 10)

    def test_room_is_given_back(self) -> None:
        """The file of a very large body is closed when its request is over or refused, and when its client leaves."""
        before = own_files()
        site = site_of(self.echo, self.clock, max_body=3_000_000)
        for target, size in (("/", 2_000_000), ("/never", 2_000_000), ("/", 1_500_000), ("/", 4_000_000)):
            client = Client(site)
            client.send(b"POST %b HTTP/1.1\r\nHost: h\r\n" % target.encode())
            client.send(b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size + b"x" * min(size, 1_500_000))
            if size != 1_500_000:
                self.assertEqual(len(own_files()), len(before) + 1)
                client.send(b"x" * (size - 1_500_000) + b"\r\n0\r\n\r\n")
            if target == "/never" or size == 1_500_000:
                client.leave()
            self.assertEqual(own_files(), before, (target, size))

    def test_disk_full(self) -> None:
        """Where a very large body cannot be kept, its sender is told, and it is no defect."""
        self.patch(tempfile, "tempdir", "/dev/full")
        client = Client(site_of(self.echo, self.clock, max_body=3_000_000))
        client.ask("POST", "/", b"x" * 2_000_000)
        answer = client.answer()
        self.assertEqual(answer.status, 503)
        self.assertIn("cannot be kept in /dev/full (TMPDIR)", json.loads(answer.body)["error"]["message"])
        self.assertEqual(self.echo.requests, [])

    def test_at_the_limit(self) -> None:
        """A body may be as large as the limit."""
        self.client.ask("POST", "/", b"x" * LIMIT)
        self.assertEqual(self.client.answer().status, 200)
        self.client.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.client.send(b"3e0\r\n%b\r\n8\r\n%b\r\n0\r\n\r\n" % (b"x" * 992, b"y" * 8))
        self.assertEqual(self.client.answer().status, 200)

    def test_no_invented_type(self) -> None:
        """An answer without a type stays without one: a guess could make a page of it."""
        self.client.ask("GET", "/")
        self.assertIsNone(self.client.answer()["Content-Type"])


class FieldsTests(SiteTestCase):
    """Header fields."""

    def test_any_spelling(self) -> None:
        """Any spelling of a name finds its last value; twisted.web's own headers are made for who asks."""
        self.client.send(b"GET /never HTTP/1.1\r\nhOST: h\r\ncookie: a=b\r\nx-ODD: 1\r\nX-odd: 2\r\n\r\n")
        [request] = self.echo.requests
        self.assertEqual((request.getHeader(b"X-Odd"), request.getHeader(b"x-none")), (b"2", None))
        self.assertIsNone(request._headers)
        self.assertEqual(request.getHeader("X-Odd"), "2")
        self.assertEqual(request.requestHeaders.getRawHeaders(b"x-odd"), [b"1", b"2"])


class LeanRequestTests(SiteTestCase):
    """What twisted.web's own requests do, and ours do in less time."""

    def setUp(self) -> None:
        """Have a request that awaits its answer."""
        super().setUp()
        self.client.send(b"POST /never HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        [self.request] = self.echo.requests

    def test_nothing_is_missing(self) -> None:
        """Whatever twisted.web's own requests begin with, ours have."""
        own = ServerRequest(self.request.channel, parsePOSTFormSubmission=False)
        for name, value in vars(own).items():
            self.assertEqual(type(getattr(self.request, name)), type(value), name)

    def test_the_client_leaves(self) -> None:
        """The one who was to be told is told, once."""
        told: list[str] = []
        self.request.left = lambda: told.append("left")
        self.client.leave()
        self.assertEqual(told, ["left"])
        self.assertIsNone(self.request.left)

    def test_relayed(self) -> None:
        """An answer that went past twisted.web is over like any other; nobody is told that the client left later."""
        told: list[str] = []
        over = self.request.notifyFinish()
        content = self.request.content
        self.request.left = lambda: told.append("left")
        self.request.relayed()
        self.assertIsNone(self.successResultOf(over))
        self.assertTrue(content.closed)
        self.client.send(b"GET /never HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual(len(self.echo.requests), 2)
        self.client.leave()
        self.assertEqual(told, [])


class TooLargeTests(SiteTestCase):
    """Bodies beyond the limit: 413, which a client must be able to read although it is still sending."""

    HEAD = b"POST / HTTP/1.1\r\nHost: h\r\n"

    def refused(self) -> None:
        """Check that the client just got its 413, and may go on sending."""
        seen = self.client.wire.take()
        self.assertEqual(seen.count(b"HTTP/1.1 "), 1)
        answer = read_answer(seen)
        self.assertEqual((answer.status, answer.reason, answer["Connection"]), (413, "Content Too Large", "close"))
        error = json.loads(answer.body)["error"]
        self.assertEqual((error["code"], error["type"]), ("body_too_large", "invalid_request_error"))
        self.assertIn("1000 bytes (maxRequestBody)", error["message"])
        self.assertTrue(self.client.wire.write_closed)
        self.assertFalse(self.client.wire.disconnecting)

    def over(self) -> None:
        """Check that nothing but the 413 was written, and that the connection closes when the client falls silent."""
        self.assertFalse(self.client.wire.disconnecting)
        self.clock.advance(LINGER)
        self.assertTrue(self.client.wire.disconnecting)
        self.assertFalse(self.client.wire.aborted)
        self.assertEqual((self.client.wire.take(), self.echo.bodies), (b"", []))
        self.client.wire.settle()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_announced(self) -> None:
        """A length beyond the limit is refused with the head; whatever comes then is thrown away."""
        self.client.send(self.HEAD + b"Content-Length: %d\r\n\r\n" % (LIMIT + 1))
        self.refused()
        self.client.send(b"x" * (LIMIT + 1))
        self.client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        self.over()

    def test_chunked(self) -> None:
        """A body whose size nobody told is refused when it passes the limit."""
        self.client.send(self.HEAD + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * LIMIT + b"\r\n")
        self.assertEqual(self.client.wire.take(), b"")
        self.client.send(b"1\r\nx\r\n")
        self.refused()
        self.client.send(b"3e8\r\n" + b"x" * LIMIT + b"\r\n")
        self.client.send(b"0\r\n\r\n")
        self.over()

    def test_in_one_packet(self) -> None:
        """A body that came with its head is refused and done with; what follows is no request."""
        for framing in (
            b"Content-Length: 1001\r\n\r\n" + b"x" * 1001,
            b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
        ):
            self.setUp()
            self.client.send(self.HEAD + framing + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            self.assertEqual(self.client.answer().status, 413)
            self.over()

    def test_expect(self) -> None:
        """Who asks whether to send such a body is told not to."""
        self.client.send(self.HEAD + b"Expect: 100-continue\r\nContent-Length: 9999\r\n\r\n")
        self.refused()

    def test_accept(self) -> None:
        """The error is in the form that the client reads."""
        self.client.send(self.HEAD + b"Accept: text/plain\r\nContent-Length: 9999\r\n\r\n")
        answer = self.client.answer()
        self.assertEqual((answer.status, answer["Content-Type"]), (413, "text/plain; charset=utf-8"))
        self.assertEqual(answer["X-Content-Type-Options"], "nosniff")

    def test_slow_client(self) -> None:
        """A client is waited for as long as it goes on sending."""
        self.client.send(self.HEAD + b"Content-Length: 9999\r\n\r\n")
        self.refused()
        for _ in range(3):
            self.clock.advance(LINGER * 0.9)
            self.client.send(b"x")
        self.over()

    def test_endless_body(self) -> None:
        """What is read and thrown away has its limit too."""
        self.client.send(self.HEAD + b"Content-Length: %d\r\n\r\n" % (10 * DISCARDED))
        self.refused()
        for _ in range(10):
            self.assertFalse(self.client.wire.aborted)
            self.client.send(b"x" * (DISCARDED // 10 + 1))
        self.assertTrue(self.client.wire.aborted)

    def test_client_leaves(self) -> None:
        """A client that leaves at once, as it should, leaves nothing behind."""
        self.client.send(self.HEAD + b"Content-Length: 9999\r\n\r\n")
        self.refused()
        self.client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class AccessLogTests(SiteTestCase):
    """`logRequests`: one line a request."""

    log = True

    def setUp(self) -> None:
        """Collect the lines."""
        super().setUp()
        self.events: list[LogEvent] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def lines(self) -> list[str]:
        """Return the lines of the log, without time and level."""
        return [event_lines(event).decode().partition("] ")[2] for event in self.events if "uri" in event]

    def test_line(self) -> None:
        """Who asked what, how, and what came of it."""
        self.client.ask("POST", "/a?b=%20", b"xyz", {"User-Agent": "curl/8"})
        self.assertEqual(self.lines(), ['192.0.2.7 "POST /a?b=%20 HTTP/1.1" 200 3 "curl/8" 0.000 s\n'])

    def test_when_it_is_over(self) -> None:
        """The line is written at the end, with the time it took; a client that left saw no status."""
        self.client.ask("GET", "/never")
        self.clock.advance(1.5)
        self.assertEqual(self.lines(), [])
        self.client.leave()
        self.assertEqual(self.lines(), ['192.0.2.7 "GET /never HTTP/1.1" - 0 "-" 1.500 s\n'])

    def test_one_line_each(self) -> None:
        """Pipelined requests have a line each."""
        self.client.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual([line.split()[2] for line in self.lines()], ["/1", "/2"])

    def test_nothing_is_forged(self) -> None:
        """Quotes and other odd bytes of a client are spelled out: they end no field, line or colour."""
        self.client.ask("GET", '/"%0a', headers={"User-Agent": 'x" 200 5 "\x85\xe9\\'})
        [line] = self.lines()
        self.assertEqual(line, r'192.0.2.7 "GET /\"%0a HTTP/1.1" 200 0 "x\" 200 5 \"\x85\xe9\\" 0.000 s' + "\n")

    def test_unreadable(self) -> None:
        """What is no request has its line too, with as much of it as there is room for, spelled out."""
        self.client.send(b'GE\x1b[31m" 200\r' + b"x" * 1000 + b"\r\n\r\n")
        [line] = [event_lines(event).decode() for event in self.events]
        self.assertIn(r'] 192.0.2.7 "GE\x1b[31m\" 200\rxxx', line)
        self.assertTrue(line.endswith(f'x" 400 {len(self.client.answer().body)} "-" 0.000 s\n'))
        self.assertLess(len(line), 350)
        self.assertNotIn("\x1b", line)

    def test_too_large(self) -> None:
        """A request that is refused before it is complete has its line when the client has left."""
        self.client.send(b"POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n")
        size = len(self.client.answer().body)
        self.assertEqual(self.lines(), [])
        self.client.leave()
        self.assertEqual(self.lines(), [f'192.0.2.7 "POST /big HTTP/1.1" 413 {size} "-" 0.000 s\n'])

    def test_upkeep(self) -> None:
        """What pages and monitors ask for all the time does not bury the rest, unless it fails."""
        for path in (
            "/ui/assets/v/app.js",
            "/favicon.ico",
            "/api/events?no-logs",
            "/logs/streamSSE/m",
            "/metrics",
            "/ui",
        ):
            self.client.ask("GET", path)
        self.assertEqual([line.split()[2] for line in self.lines()], ["/ui"])
        self.client.ask("POST", "/api/events", b"x" * (LIMIT + 1))
        self.client.leave()
        self.assertEqual([line.split()[2:5] for line in self.lines()[1:]], [["/api/events", 'HTTP/1.1"', "413"]])

    def test_unix_socket(self) -> None:
        """A client without an address is a dash."""
        self.connect(UNIXAddress("/run/x.sock")).ask("GET", "/")
        self.assertEqual(self.lines(), ['- "GET / HTTP/1.1" 200 0 "-" 0.000 s\n'])

    def test_not_wanted(self) -> None:
        """Without `logRequests` there is no line."""
        Client(site_of(self.echo, self.clock)).ask("GET", "/")
        self.assertEqual(self.lines(), [])


class RealSocketTests(TestCase):
    """What only a kernel can show."""

    def setUp(self) -> None:
        """Listen."""
        port: Any = reactor.listenTCP(0, site_of(Echo(), reactor, max_body=LIMIT), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    @inlineCallbacks
    def test_413_reaches_a_client_that_sends_first(self) -> Any:
        """A client that sends a large body to its end, and only then reads, finds the 413 and a clean close."""
        size = 20_000_000

        def send_all_then_read() -> bytes:
            received = b""
            with socket.create_connection(("127.0.0.1", self.port), 10) as client:
                client.sendall(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size)
                client.sendall(b"x" * size)
                while data := client.recv(65536):
                    received += data
            return received

        lost: Deferred[None] = Deferred()
        self.patch(SwapChannel, "connectionLost", _then(SwapChannel.connectionLost, lost))
        received = yield deferToThread(send_all_then_read)
        yield lost
        self.assertEqual(read_answer(received).status, 413)


def _then(method: Any, told: Deferred[None]) -> Any:
    """Return `method`, which also fires `told`."""

    def call(self: Any, *args: Any) -> None:
        method(self, *args)
        told.callback(None)

    return call

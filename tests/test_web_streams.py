"""The log routes, in memory; and with real sockets where a reader's slowness or leaving matters."""

from __future__ import annotations

import json

from treq.testing import RequestTraversalAgent
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseDone, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from twisted.web.server import Request

from llama_swap.logs.broadcaster import Broadcaster
from llama_swap.web import streams
from llama_swap.web.front import Front
from llama_swap.web.streams import MAX_STREAMS, LogRoutes
from tests.support_logs import LogSite, log_app

MODELS = {"m": "m", "org/a:1 b": "org/a:1 b", "/lead": "/lead", "alias": "m"}


class Reader(Protocol):
    """Collects a body as it comes."""

    def __init__(self) -> None:
        self.received = b""
        self.ended = Failure(ConnectionError("not ended yet"))

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = reason


class InMemory(SynchronousTestCase):
    """A client, a site with the log routes, and nothing between them."""

    def setUp(self) -> None:
        """Let a model and the proxy say something."""
        self.clock = Clock()
        self.broadcaster = Broadcaster()
        self.routes = LogRoutes(self.broadcaster, self.clock, MODELS.get)
        self.agent = RequestTraversalAgent(Front(log_app(self.routes)))
        self.model = self.broadcaster.writer("m")
        self.model.write(b"one\n")
        self.broadcaster.publish_proxy(b"two\n")

    def tearDown(self) -> None:
        """See that no timer is left once all streams have ended."""
        self.routes.close()
        self.agent.flush()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def ask(self, target: str, method: bytes = b"GET", **headers: str) -> IResponse:
        """Send a request and return the answer, whose body may not have ended."""
        raw = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
        answer = self.agent.request(method, f"http://127.0.0.1:8080{target}".encode(), raw)
        self.agent.flush()
        return self.successResultOf(answer)

    def body(self, answer: IResponse) -> bytes:
        """Return a whole body."""
        reading = readBody(answer)
        self.agent.flush()
        return self.successResultOf(reading)

    def read(self, target: str, **headers: str) -> Reader:
        """Open a stream."""
        reader = Reader()
        answer = self.ask(target, **headers)
        self.assertEqual(answer.code, 200)
        answer.deliverBody(reader)
        self.agent.flush()
        return reader


class HistoryTests(InMemory):
    """`/logs`, which ends."""

    def test_plain_text(self) -> None:
        """What is no browser gets the history as text, and a type that says so."""
        answer = self.ask("/logs", Accept="*/*")
        self.assertEqual(answer.code, 200)
        self.assertEqual(answer.headers.getRawHeaders("Content-Type"), ["text/plain; charset=utf-8"])
        self.assertEqual(answer.headers.getRawHeaders("X-Content-Type-Options"), ["nosniff"])
        self.assertEqual(answer.headers.getRawHeaders("Cache-Control"), ["no-store"])
        self.assertEqual(self.body(answer), b"one\ntwo\n")

    def test_how_much(self) -> None:
        """It is 10 KiB, or `?bytes=N` up to 100 KiB, in whole lines."""
        self.model.write(b"".join(b"%099d\n" % number for number in range(5000)))
        for query, size in {"": 10_200, "?bytes=350": 300, "?bytes=0": 0, "?bytes=99999999": 102_400}.items():
            self.assertEqual(len(self.body(self.ask(f"/logs{query}"))), size, query)

    def test_not_a_number(self) -> None:
        """Nonsense for `bytes` is refused, with advice."""
        for value in ("-1", "x", "", "1e3", "9" * 5000, "%D9%A1"):
            answer = self.ask(f"/logs?bytes={value}")
            self.assertEqual(answer.code, 400, value)
            self.assertIn(b"write for example ?bytes=102400", self.body(answer))

    def test_head(self) -> None:
        """HEAD tells the size of the text, and ends a stream with its head."""
        answer = self.ask("/logs", b"HEAD")
        self.assertEqual((answer.code, self.body(answer)), (200, b""))
        self.assertEqual(answer.headers.getRawHeaders("Content-Length"), ["8"])
        self.assertEqual(self.body(self.ask("/logs/stream", b"HEAD")), b"")

    def test_moved(self) -> None:
        """`/log` leads to `/logs`, and takes its query along."""
        for target, place in {"/log": b"logs", "/log?bytes=5&x=%2F": b"logs?bytes=5&x=%2F"}.items():
            answer = self.ask(target)
            self.assertEqual((answer.code, answer.headers.getRawHeaders(b"Location")), (302, [place]))

    def test_sources(self) -> None:
        """The sources are told as JSON."""
        self.broadcaster.writer("org/a:1 b")
        answer = self.ask("/logs/sources")
        self.assertEqual(answer.headers.getRawHeaders("Content-Type"), ["application/json"])
        self.assertEqual(json.loads(self.body(answer)), ["proxy", "upstream", "m", "org/a:1 b"])

    def test_other_methods(self) -> None:
        """Only GET and HEAD exist."""
        self.assertEqual({self.ask(path, b"POST").code for path in ("/logs", "/log", "/logs/stream")}, {405})


class PageTests(InMemory):
    """What a browser gets."""

    def test_page(self) -> None:
        """A browser gets the page that shows the lines, a text without its scripts."""
        answer = self.ask("/logs", Accept="text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
        self.assertEqual(answer.headers.getRawHeaders("Content-Type"), ["text/html; charset=utf-8"])
        self.assertEqual(answer.headers.getRawHeaders("Vary"), ["Accept", "Accept-Encoding"])
        page = self.body(answer)
        self.assertRegex(page, rb' src="ui/assets/\w+/app\.js"')
        self.assertIn(b'<a href="logs/stream">', page)


class StreamTests(InMemory):
    """`/logs/stream`, which goes on."""

    def test_head_at_once(self) -> None:
        """The head comes before there is any line, and says that nothing may hold lines back."""
        answer = self.ask("/logs/stream/org/a:1%20b")
        headers = {
            "Content-Type": ["text/plain; charset=utf-8"],
            "X-Content-Type-Options": ["nosniff"],
            "X-Accel-Buffering": ["no"],
            "Cache-Control": ["no-cache"],
        }
        self.assertEqual({name: answer.headers.getRawHeaders(name) for name in headers}, headers)

    def test_first_slash(self) -> None:
        """A model's name may begin with a slash."""
        for name in ("%2Flead", "/lead"):
            self.assertEqual(self.ask(f"/logs/stream/{name}").code, 200)

    def test_history_then_live(self) -> None:
        """History comes first, then each line at once, none twice."""
        reader = self.read("/logs/stream")
        self.assertEqual(reader.received, b"one\ntwo\n")
        self.model.write(b"three\nhalf a li")
        self.agent.flush()
        self.assertEqual(reader.received, b"one\ntwo\nthree\n")

    def test_no_history(self) -> None:
        """`?no-history` skips the first part, with or without a value."""
        for query in ("no-history", "no-history=", "no-history=1", "bytes=9&no-history"):
            reader = self.read(f"/logs/stream?{query}")
            self.model.write(b"three\n")
            self.agent.flush()
            self.assertEqual(reader.received, b"three\n", query)

    def test_how_much(self) -> None:
        """`?bytes=N` sets how much history comes."""
        self.assertEqual(self.read("/logs/stream?bytes=4").received, b"two\n")

    def test_sources(self) -> None:
        """A source is named in the path: by id, by alias, with slashes as they are or encoded."""
        self.broadcaster.writer("org/a:1 b").write(b"three\n")
        expected = {
            "proxy": b"two\n",
            "upstream": b"one\nthree\n",
            "m": b"one\n",
            "alias": b"one\n",
            "org/a:1%20b": b"three\n",
            "org%2Fa%3A1%20b": b"three\n",
        }
        self.assertEqual({name: self.read(f"/logs/stream/{name}").received for name in expected}, expected)
        self.assertEqual(self.read("/logs/stream/").received, self.read("/logs/stream").received)

    def test_a_model_that_is_gone(self) -> None:
        """A model that is no longer configured can still be read."""
        self.broadcaster.writer("gone").write(b"last words\n")
        self.assertEqual(self.read("/logs/stream/gone").received, b"last words\n")

    def test_unknown(self) -> None:
        """An unknown source is refused with the words that clients of llama-swap know."""
        for kind in ("stream", "streamSSE"):
            answer = self.ask(f"/logs/{kind}/nobody")
            self.assertEqual(answer.code, 400)
            self.assertEqual(self.body(answer), b"invalid logger. Use 'proxy', 'upstream' or a model's ID")

    def test_too_many(self) -> None:
        """Streams are limited in number; one that ends makes room."""
        readers = [self.read("/logs/stream") for _ in range(MAX_STREAMS)]
        answer = self.ask("/logs/streamSSE")
        self.assertEqual(answer.code, 503)
        self.assertIn(b"All 100 log streams are in use", self.body(answer))
        readers[0].transport.loseConnection()
        self.agent.flush()
        self.assertEqual(self.read("/logs/stream").received, b"one\ntwo\n")

    def test_close(self) -> None:
        """Closing ends every stream cleanly, and new ones are refused."""
        readers = [self.read("/logs/stream"), self.read("/logs/streamSSE")]
        self.routes.close()
        self.agent.flush()
        self.assertTrue(all(reader.ended.check(ResponseDone) for reader in readers))
        self.model.write(b"too late\n")
        self.agent.flush()
        self.assertFalse(any(b"too late" in reader.received for reader in readers))
        self.assertEqual(self.ask("/logs/stream").code, 503)

    def test_close_with_an_access_log(self) -> None:
        """What is logged of the end of a stream does not go to that stream any more."""
        begin_stream = streams.begin_stream

        def begin(request: Request, kind: bytes) -> None:
            request.notifyFinish().addBoth(lambda _: self.broadcaster.publish_proxy(request.uri + b" has ended"))
            begin_stream(request, kind)

        self.patch(streams, "begin_stream", begin)
        readers = [self.read("/logs/stream"), self.read("/logs/streamSSE")]
        self.routes.close()
        self.agent.flush()
        self.assertTrue(all(reader.ended.check(ResponseDone) for reader in readers))
        self.assertIn(b"/logs/stream has ended", self.broadcaster.history("proxy"))


class EventTests(InMemory):
    """`/logs/streamSSE`, for the page."""

    def events(self, reader: Reader) -> list[tuple[str, str]]:
        """Return source and text of the events that a reader got."""
        events = reader.received.decode().split("\n\n")
        found = [json.loads(event.partition("data: ")[2]) for event in events if event.startswith("id: ")]
        return [(event["source"], event["text"]) for event in found]

    def last_id(self, reader: Reader) -> str:
        """Return the id of the last event that a reader got."""
        return reader.received.decode().rpartition("id: ")[2].partition("\n")[0]

    def test_type(self) -> None:
        """It is an event stream that nobody may cache or hold back."""
        answer = self.ask("/logs/streamSSE")
        self.assertEqual(answer.headers.getRawHeaders("Content-Type"), ["text/event-stream; charset=utf-8"])
        self.assertEqual(answer.headers.getRawHeaders("X-Accel-Buffering"), ["no"])

    def test_sources_are_told(self) -> None:
        """Each event names the source of its lines."""
        reader = self.read("/logs/streamSSE")
        self.model.write("drei – 三\n".encode())
        self.agent.flush()
        self.assertEqual(self.events(reader), [("m", "one\n"), ("proxy", "two\n"), ("m", "drei – 三\n")])

    def test_one_source(self) -> None:
        """One source can be had alone."""
        self.assertEqual(self.events(self.read("/logs/streamSSE/proxy")), [("proxy", "two\n")])

    def test_not_text(self) -> None:
        """Bytes that are no UTF-8, and lines that look like events, break no event."""
        reader = self.read("/logs/streamSSE?no-history")
        self.model.write(b"\xff\ndata: fake\n\nid: 7\n")
        self.agent.flush()
        self.assertEqual(self.events(reader), [("m", "\ufffd\ndata: fake\n\nid: 7\n")])

    def test_made_once(self) -> None:
        """An event is made once, however many clients follow."""
        readers = [self.read("/logs/streamSSE?no-history") for _ in range(3)]
        made, dumps = [], json.dumps

        def make(value: object) -> str:
            made.append(value)
            return dumps(value)

        self.patch(streams.json, "dumps", make)
        self.model.write(b"three\n")
        self.model.write(b"four\n")
        self.agent.flush()
        self.assertEqual([self.events(reader) for reader in readers], [[("m", "three\n"), ("m", "four\n")]] * 3)
        self.assertEqual(len(made), 2)

    def test_heartbeat(self) -> None:
        """A comment each 15 s shows that the connection lives."""
        reader = self.read("/logs/streamSSE?no-history")
        self.clock.advance(14)
        self.agent.flush()
        self.assertNotIn(b": still here\n\n", reader.received)
        self.clock.advance(1)
        self.agent.flush()
        self.assertTrue(reader.received.endswith(b"\n\n: still here\n\n"))

    def test_sources_between(self) -> None:
        """All sources are told at the start, and again at the next heartbeat when there are new ones."""
        reader = self.read("/logs/streamSSE/proxy?no-history")
        self.assertEqual(reader.received, b'event: sources\ndata: ["proxy", "upstream", "m"]\n\n')
        self.broadcaster.writer("new")
        self.clock.advance(15)
        self.agent.flush()
        self.assertTrue(reader.received.endswith(b'event: sources\ndata: ["proxy", "upstream", "m", "new"]\n\n'))

    def test_goes_on(self) -> None:
        """A page that comes back names the last event that it got, and gets just what it missed."""
        last = self.last_id(self.read("/logs/streamSSE"))
        self.model.write(b"three\n")
        self.assertEqual(self.events(self.read(f"/logs/streamSSE?after={last}")), [("m", "three\n")])
        self.assertEqual(self.events(self.read("/logs/streamSSE", Last_Event_ID=last)), [("m", "three\n")])

    def test_another_proxy(self) -> None:
        """An id of another proxy, or nonsense, is of no meaning: history comes."""
        for after in ("0badcafe.2", "x", "", ".", "1.x"):
            self.assertEqual(len(self.events(self.read(f"/logs/streamSSE?after={after}"))), 2, after)


class SocketTests(TestCase):
    """A reader that is slow, and one that leaves."""

    async def connect(self, broadcaster: Broadcaster) -> tuple[Protocol, bytearray]:
        """Ask for a stream over TCP; return the client that did, once something came, and what comes."""
        site = LogSite(reactor, LogRoutes(broadcaster, Clock(), MODELS.get))
        self.addCleanup(lambda: Deferred.fromCoroutine(site.close()))
        self.turn = site.turn
        received = bytearray()
        client = Protocol()
        client.dataReceived = received.extend
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", site.port), client)
        self.addCleanup(client.transport.abortConnection)
        client.transport.write(b"GET /logs/stream HTTP/1.0\r\nHost: x\r\n\r\n")
        while not received:
            await self.turn()
        return client, received

    async def test_a_slow_reader(self) -> None:
        """It holds up nobody, costs little, loses the oldest lines, is told how many, and gets the newest."""
        broadcaster = Broadcaster()
        model = broadcaster.writer("m")
        model.write(b"first\n")
        client, received = await self.connect(broadcaster)
        client.transport.pauseProducing()
        for block in range(1000):
            model.write(b"".join(b"%099d\n" % (block * 500 + line) for line in range(500)))
            await self.turn()
        client.transport.resumeProducing()
        model.write(b"the end\n")
        while b"the end\n" not in received:
            await self.turn()
        lines = received.partition(b"\r\n\r\n")[2].decode().splitlines()
        self.assertEqual((lines[0], lines[-1]), ("first", "the end"))
        kept = [int(line) for line in lines if line.isdigit()]
        lost = sum(int(line.partition("(")[2].partition(" ")[0]) for line in lines if line.startswith("—"))
        self.assertEqual(kept, sorted(set(kept)))
        self.assertEqual(len(kept) + lost, 500_000)
        self.assertGreater(lost, 300_000)

    async def test_leaving(self) -> None:
        """When the client is gone, its subscription ends."""
        broadcaster = Broadcaster()
        client, _ = await self.connect(broadcaster)
        channel = broadcaster._together
        self.assertEqual(len(channel.listeners), 1)
        client.transport.abortConnection()
        while channel.listeners:
            await self.turn()

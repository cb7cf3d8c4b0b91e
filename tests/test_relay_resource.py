"""A request that is relayed, up to the bytes that client and upstream see of it."""

from __future__ import annotations

from llama_swap.errors import Cancelled
from llama_swap.relay import response
from tests.fakes_web import site_of
from tests.fakes_wire import Client, Wire, read_answer
from tests.support_relay import OK, STREAM, RelayTestCase


class AnswerTests(RelayTestCase):
    """Answers that are complete."""

    def test_nothing_is_invented(self) -> None:
        """Status line, fields and body are those of the upstream, and no others."""
        answer = b"HTTP/1.1 418 I'm a  Teapot\r\nContent-Length: 2\r\nX-Odd: \xe9\xff\r\n\r\nab"
        self.assertEqual(
            self.seen(answer), b"HTTP/1.1 418 I'm a  Teapot\r\nContent-Length: 2\r\nX-Odd: \xe9\xff\r\n\r\nab"
        )

    def test_head_before_body(self) -> None:
        """The client sees the head while the upstream still thinks about the first byte."""
        wire = self.ask()
        wire.deliver(STREAM[:-1])
        self.assertEqual(self.client.wire.take(), b"")
        wire.deliver(STREAM[-1:])
        self.assertTrue(self.client.wire.take().endswith(b"\r\n\r\n"))

    def test_each_event_at_once(self) -> None:
        """Each part of a stream is passed on before the next one comes, in the chunks in which it came."""
        wire = self.ask()
        wire.deliver(STREAM)
        self.client.wire.take()
        wire.deliver(b"6\r\ndata: ")
        self.assertEqual(self.client.wire.take(), b"6\r\ndata: ")
        wire.deliver(b"\r\n3;x=y\r\n1\n\n\r\n")
        self.assertEqual(self.client.wire.take(), b"\r\n3;x=y\r\n1\n\n\r\n")
        wire.deliver(b"0\r\nX-Trailer: 1\r\n\r\n")
        self.assertEqual(self.client.wire.take(), b"0\r\n\r\n")
        self.assertFalse(self.client.wire.disconnecting)

    def test_all_in_one_packet(self) -> None:
        """A whole answer in one packet is a whole answer."""
        for framing in (b"Content-Length: 2\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"):
            self.root.over = 0
            self.assertEqual(read_answer(self.seen(OK + framing)).body, b"ab")
        self.assert_no_defect()

    def test_until_the_connection_closes(self) -> None:
        """An answer without framing gets chunks; a client of HTTP/1.0 sees the connection close instead."""
        self.assertEqual(
            self.seen(OK + b"\r\nab", b"c"),
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
        )

    def test_old_client(self) -> None:
        """To HTTP/1.0, chunks go as a body that ends with the connection."""
        seen = self.seen(OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", version="HTTP/1.0")
        self.assertEqual(seen, b"HTTP/1.0 200 OK\r\n\r\nab")
        self.assertTrue(self.client.wire.disconnecting)
        self.assertFalse(self.client.wire.aborted)

    def test_bodiless(self) -> None:
        """HEAD, 204 and 304 keep their fields, have no body, and leave the connection usable."""
        for method, status in (("HEAD", b"200 OK"), ("GET", b"204 No Content"), ("GET", b"304 Not Modified")):
            for framing in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b""):
                self.root.over = 0
                seen = self.seen(b"HTTP/1.1 " + status + b"\r\nETag: x\r\n" + framing + b"\r\n", method=method)
                kept = framing if b"Length" in framing else b""
                self.assertEqual(seen, b"HTTP/1.1 " + status + b"\r\nETag: x\r\n" + kept + b"\r\n")
                self.assertFalse(self.client.wire.disconnecting)
        self.assert_no_defect()

    def test_interim(self) -> None:
        """Interim answers stay here: the client asked for none."""
        interim = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        self.assertEqual(
            self.seen(interim + interim, OK + b"Content-Length: 0\r\n\r\n"), OK + b"Content-Length: 0\r\n\r\n"
        )

    def test_bytes_behind_the_end(self) -> None:
        """A second answer behind the first one is not passed on."""
        other = OK + b"Content-Length: 5\r\n\r\nother"
        self.assertEqual(self.seen(OK + b"Content-Length: 2\r\n\r\nab" + other), OK + b"Content-Length: 2\r\n\r\nab")

    def test_early_answer(self) -> None:
        """An upstream may answer before it has read the request; it is left at the end of its answer."""
        wire = self.ask("POST")
        wire.deliver(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        self.assertTrue(wire.aborted)
        self.assertEqual((self.client.answer().status, self.root.over), (413, 1))

    def test_pipelined(self) -> None:
        """Requests in one packet are answered in order; the second begins when the first one is over."""
        self.client.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        self.assertEqual(len(self.upstream.attempts), 1)
        self.upstream.accept().deliver(OK + b"Content-Length: 1\r\n\r\n1")
        self.upstream.accept().deliver(OK + b"Content-Length: 1\r\n\r\n2")
        self.assertEqual(self.root.order, ["began /1", "over /1", "began /2", "over /2"])
        first, second = self.client.wire.take().split(b"HTTP/1.1 ")[1:]
        self.assertTrue(first.endswith(b"\r\n\r\n1"), first)
        self.assertTrue(second.endswith(b"\r\n\r\n2"), second)
        self.assert_no_defect()

    def test_pipelined_behind_an_error(self) -> None:
        """The same where the first upstream cannot be reached."""
        self.client.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
        self.upstream.refuse()
        self.assertEqual(self.root.order, ["began /1", "over /1", "began /2"])


class FieldTests(RelayTestCase):
    """What becomes of the upstream's fields."""

    def fields(self, *lines: bytes) -> list[tuple[str, str]]:
        """Return the fields that a client sees of an answer with these."""
        seen = self.seen(OK + b"\r\n".join([*lines, b"Content-Length: 0", b"", b""]))
        return [field for field in read_answer(seen).fields if field[0] != "Content-Length"]

    def test_hop_by_hop(self) -> None:
        """Fields for the next hop only, and those that `Connection` names, stay here."""
        self.assertEqual(
            self.fields(
                b"Connection: close, X-Own",
                b"Keep-Alive: timeout=5",
                b"Proxy-Authenticate: Basic",
                b"Upgrade: h2c",
                b"Trailer: X",
                b"x-own: 1",
                b"X-Other: 2",
            ),
            [("X-Other", "2")],
        )

    def test_repeated(self) -> None:
        """Every cookie arrives, in order."""
        self.assertEqual(
            self.fields(b"Set-Cookie: a=1; Path=/", b"set-cookie: b=2", b"Set-Cookie: a=1; Path=/"),
            [("Set-Cookie", "a=1; Path=/"), ("set-cookie", "b=2"), ("Set-Cookie", "a=1; Path=/")],
        )

    def test_encoding_and_type(self) -> None:
        """What describes the body is untouched."""
        lines = [b"Content-Encoding: br", b"Content-Type: text/html", b"Vary: *", b"Server: up", b"Date: today"]
        self.assertEqual(self.fields(*lines), [tuple(line.decode().split(": ")) for line in lines])

    def test_event_streams_are_not_buffered(self) -> None:
        """Of event streams, a proxy before us is told not to hold them back; of nothing else."""
        self.assertEqual(
            self.fields(b"content-type: text/event-stream; charset=utf-8", b"X-Accel-Buffering: yes"),
            [("content-type", "text/event-stream; charset=utf-8"), ("X-Accel-Buffering", "no")],
        )
        self.root.over = 0
        self.assertEqual(self.fields(b"Content-Type: text/plain"), [("Content-Type", "text/plain")])

    def test_reason(self) -> None:
        """A reason phrase cannot end its line, whatever bytes it holds."""
        for reason, seen in (
            (b"OK\x00\x01\x1b[31m\x7f", b"OK[31m"),
            (b"", b""),
            (b"Gr\xf6\xdfe\tx", b"Gr\xf6\xdfe\tx"),
        ):
            self.root.over = 0
            answer = self.seen(b"HTTP/1.1 200 " + reason + b"\r\nContent-Length: 0\r\n\r\n")
            self.assertEqual(answer, b"HTTP/1.1 200 " + seen + b"\r\nContent-Length: 0\r\n\r\n")


class BackPressureTests(RelayTestCase):
    """Neither side gets ahead of the other."""

    def test_slow_client(self) -> None:
        """While the client does not read, nothing is read from the upstream."""
        wire = self.ask()
        wire.deliver(STREAM)
        self.client.wire.fill()
        self.assertTrue(wire.paused)
        wire.deliver(b"2\r\nab\r\n")  # was under way
        self.assertTrue(wire.paused)
        self.client.wire.drain()
        self.assertFalse(wire.paused)
        wire.deliver(b"0\r\n\r\n")
        self.assertEqual(read_answer(self.client.wire.take()).body, b"ab")

    def test_slow_before_the_answer(self) -> None:
        """A client that already did not read when the answer began holds the upstream up all the same."""
        wire = self.ask()
        self.client.wire.fill()
        wire.deliver(STREAM + b"2\r\nab\r\n")
        self.assertTrue(wire.paused)
        self.client.wire.drain()
        self.assertFalse(wire.paused)

    def test_end_while_paused(self) -> None:
        """An answer may end while the client does not read; the connection then serves the next request."""
        wire = self.ask()
        wire.deliver(STREAM)
        self.client.wire.fill()
        wire.deliver(b"0\r\n\r\n")
        self.assertFalse(wire.paused)
        self.client.wire.drain()
        self.assertEqual(self.root.over, 1)
        self.client.wire.take()
        self.ask().deliver(OK + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(self.client.answer().status, 200)
        self.assert_no_defect()

    def overfill(self, first: bytes, last: bytes) -> Wire:
        """Return the connection of an answer whose last part is more than its client takes."""
        wire = self.ask()
        wire.deliver(first)
        self.client.wire.full = True
        wire.deliver(last)
        self.assertEqual(self.root.over, 1)
        return wire

    def test_end_overfills(self) -> None:
        """What is too much of one answer does not keep the next one, on the same connection, from being read."""
        self.assertFalse(self.overfill(OK + b"Content-Length: 2\r\n\r\n", b"ab").paused)

    def test_last_chunk_overfills(self) -> None:
        """The same where chunks show the end."""
        self.assertFalse(self.overfill(STREAM + b"2\r\nab\r\n", b"0\r\n\r\n").paused)

    def test_client_leaves_while_paused(self) -> None:
        """A client that never reads and goes ends the upstream's work."""
        wire = self.ask()
        wire.deliver(STREAM)
        self.client.wire.fill()
        self.client.leave()
        self.assertTrue(wire.aborted)
        self.assertEqual(self.root.over, 1)


class ObserverTests(RelayTestCase):
    """Whoever watches sees what the client sees."""

    def test_chunks(self) -> None:
        """A body in chunks is shown as it is passed on; its end comes without an error."""
        self.seen(STREAM, b"2\r\nab", b"\r\n0\r\n\r\n")
        self.assertEqual(self.root.seen, [(200, True), b"2\r\nab", b"\r\n"])
        self.assertEqual(self.root.errors, [None])

    def test_without_chunks(self) -> None:
        """Any other body is shown without the chunks that it may get on its way."""
        for version in ("HTTP/1.1", "HTTP/1.0"):
            self.setUp()
            self.seen(OK + b"\r\nab", version=version)
            self.assertEqual(self.root.seen, [(200, False), b"ab"])

    def test_broken(self) -> None:
        """The error that ended it is told, whether the client was told of it or not."""
        for answer, error in ((OK + b"Content-Length: 5\r\n\r\nab", "UpstreamError"), (b"nonsense", "InvalidAnswer")):
            self.setUp()
            self.seen(answer)
            self.assertEqual([type(each).__name__ for each in self.root.errors], [error])

    def test_client_left(self) -> None:
        """A client that leaves is an end like any other."""
        self.ask()
        self.client.leave()
        self.assertIsInstance(self.root.errors[0], Cancelled)


class LengthTests(RelayTestCase):
    """The size in the access log: that of the body, whoever made it and however it came."""

    def setUp(self) -> None:
        """Have a log."""
        super().setUp()
        self.client = Client(site_of(self.root, log=True))

    def assert_logged(self, size: int, *answer: bytes, status: int = 200, **asked: str) -> None:
        """The body of this answer has so many bytes, for the log."""
        self.root.over = 0
        seen = self.seen(*answer, **asked)
        [line] = [event for event in self.logged if "uri" in event]
        self.logged.clear()
        self.assertEqual((line["status"], line["size"]), (status, size), answer)
        if not asked:
            self.assertEqual(len(read_answer(seen).body), size)

    def test_sizes(self) -> None:
        """Neither the head nor what frames the body counts."""
        self.assert_logged(5, OK + b"Content-Length: 5\r\n\r\nab", b"cde")
        self.assert_logged(5, STREAM, b"2;x=y\r\nab\r\n", b"1\r\nc\r\n2\r", b"\nd", b"e\r\n", b"0\r\nX-Late: 1\r\n\r\n")
        self.assert_logged(3, STREAM + b"3\r\nabc\r\n0\r\n\r\n")
        self.assert_logged(3, OK + b"\r\nab", b"c")
        self.client = Client(site_of(self.root, log=True))
        self.assert_logged(2, STREAM + b"2\r\nab\r\n0\r\n\r\n", version="HTTP/1.0")
        self.client = Client(site_of(self.root, log=True))
        self.assert_logged(0, OK + b"Content-Length: 9\r\n\r\n", method="HEAD")

    def test_errors(self) -> None:
        """An error of our own has a body as well."""
        self.client.ask("GET", "/")
        self.upstream.refuse()
        [line] = [event for event in self.logged if "uri" in event]
        self.assertEqual((line["status"], line["size"]), (502, len(self.client.answer().body)))

    def test_not_wanted(self) -> None:
        """Without a log nothing is counted."""
        self.patch(response, "BodyLength", None)
        self.client = Client(site_of(self.root))
        self.assertEqual(read_answer(self.seen(STREAM, b"2\r\nab\r\n", b"0\r\n\r\n")).body, b"ab")

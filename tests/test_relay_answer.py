"""Reading an upstream's answer, and judging its framing."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import UpstreamError
from llama_swap.http.headers import AnswerHead
from llama_swap.relay.answer import HEAD_LIMIT, AnswerParser
from tests.fakes_wire import Sink

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Calls = list[tuple[str, Any]]


def calls_of(packets: Iterable[bytes], *, to_head: bool = False, closed: bool = True) -> Calls:
    """Return what a receiver is told of an answer that comes in these packets."""
    sink = Sink()
    parser = AnswerParser(sink, to_head=to_head)
    for packet in packets:
        parser.feed(packet)
    if closed:
        parser.close(cleanly=True)
    return sink.calls


def in_packets(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Return `data`, cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


def chunked(parts: Iterable[bytes]) -> bytes:
    """Return the parts as a chunked body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + b"0\r\n\r\n"


FIELDS = [(b"Content-Type", b"text/event-stream"), (b"X-Empty", b""), (b"set-cookie", b"a"), (b"set-cookie", b"b")]
LINES = b"".join(b"%b: %b\r\n" % field for field in FIELDS)

WHOLE: dict[str, tuple[bytes, bool, Calls]] = {
    "chunked": (
        OK + LINES + b"Transfer-Encoding: Chunked\r\n\r\n5;x=1\r\nhello\r\n1\r\n!\r\n000\r\n\r\n",
        False,
        [
            ("head", AnswerHead(200, b"OK", [*FIELDS, (b"Transfer-Encoding", b"Chunked")])),
            ("data", b"hello!"),
            ("end", None),
        ],
    ),
    "trailers": (
        CHUNKED + b"1\r\na\r\n0\r\nX-Late: 1\r\nSet-Cookie:\r\n\r\n",
        False,
        [("head", AnswerHead(200, b"OK", [(b"Transfer-Encoding", b"chunked")])), ("data", b"a"), ("end", None)],
    ),
    "length": (
        OK + LINES + b"content-length:  5\r\n\r\nhello",
        False,
        [("head", AnswerHead(200, b"OK", [*FIELDS, (b"content-length", b"5")])), ("data", b"hello"), ("end", None)],
    ),
    "no body": (
        b"HTTP/1.1 404 Not  Found\r\nContent-Length: 0\r\n\r\n",
        False,
        [("head", AnswerHead(404, b"Not  Found", [(b"Content-Length", b"0")])), ("end", None)],
    ),
    "until the connection closes": (
        b"HTTP/1.0 200 OK\r\n\r\nhello\r\n\r\n",
        False,
        [("head", AnswerHead(200, b"OK", [])), ("data", b"hello\r\n\r\n"), ("end", None)],
    ),
    "an empty body until the connection closes": (
        OK + b"Connection: close\r\n\r\n",
        False,
        [("head", AnswerHead(200, b"OK", [(b"Connection", b"close")])), ("end", None)],
    ),
    "HEAD with a length": (
        OK + b"Content-Length: 5\r\n\r\n",
        True,
        [("head", AnswerHead(200, b"OK", [(b"Content-Length", b"5")])), ("end", None)],
    ),
    "HEAD with chunks": (
        CHUNKED,
        True,
        [("head", AnswerHead(200, b"OK", [(b"Transfer-Encoding", b"chunked")])), ("end", None)],
    ),
    "HEAD without framing": (OK + b"\r\n", True, [("head", AnswerHead(200, b"OK", [])), ("end", None)]),
    "204": (
        b"HTTP/1.1 204 No Content\r\n\r\n",
        False,
        [("head", AnswerHead(204, b"No Content", [])), ("end", None)],
    ),
    "204 with a length": (
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        False,
        [("head", AnswerHead(204, b"No Content", [(b"Content-Length", b"5")])), ("end", None)],
    ),
    "304 with a length": (
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: x\r\n\r\n",
        False,
        [("head", AnswerHead(304, b"Not Modified", [(b"Content-Length", b"5"), (b"ETag", b"x")])), ("end", None)],
    ),
    "no reason": (
        b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx",
        False,
        [("head", AnswerHead(200, b"", [(b"Content-Length", b"1")])), ("data", b"x"), ("end", None)],
    ),
    "interim answers": (
        b"HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\nContent-Length: 9\r\n\r\n"
        + OK
        + b"Content-Length: 1\r\n\r\nx",
        False,
        [("head", AnswerHead(200, b"OK", [(b"Content-Length", b"1")])), ("data", b"x"), ("end", None)],
    ),
    "an upgrade that did not happen": (
        OK + b"Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 1\r\n\r\nx",
        False,
        [
            (
                "head",
                AnswerHead(200, b"OK", [(b"Upgrade", b"h2c"), (b"Connection", b"Upgrade"), (b"Content-Length", b"1")]),
            ),
            ("data", b"x"),
            ("end", None),
        ],
    ),
}


class WholeAnswerTests(SynchronousTestCase):
    """Every way in which an answer may end."""

    def test_in_one_packet(self) -> None:
        """An answer in one packet is told in order."""
        for name, (data, to_head, calls) in WHOLE.items():
            self.assertEqual(calls_of([data], to_head=to_head), calls, name)

    def test_split_at_every_byte(self) -> None:
        """Where packets end does not matter."""
        for name, (data, to_head, calls) in WHOLE.items():
            self.assertEqual(calls_of([data[i : i + 1] for i in range(len(data))], to_head=to_head), calls, name)
            for cut in range(1, len(data)):
                self.assertEqual(calls_of([data[:cut], data[cut:]], to_head=to_head), calls, (name, cut))

    def test_ends_by_its_own_framing(self) -> None:
        """No answer but one without framing needs the connection to close."""
        for name, (data, to_head, calls) in WHOLE.items():
            ended = calls_of([data], to_head=to_head, closed=False)[-1] == calls[-1]
            self.assertEqual(ended, "until the connection closes" not in name, name)

    def test_what_follows_is_dropped(self) -> None:
        """Bytes behind the end, be they another answer or none, reach nobody."""
        for name, (data, to_head, calls) in WHOLE.items():
            if "until the connection closes" in name:
                continue
            for more in (b"x", b"\r\n\r\n", OK + b"Content-Length: 5\r\n\r\nother", b"\0" * 100_000):
                self.assertEqual(calls_of([data + more], to_head=to_head), calls, (name, more[:9]))
                self.assertEqual(calls_of([data, more, more], to_head=to_head), calls, (name, more[:9]))

    def test_body_that_should_not_come(self) -> None:
        """What announces a body that must not come is the last answer of its connection: some servers send it."""
        for status, field, to_head, usable in (
            (b"200 OK", b"Content-Length: 5", True, False),
            (b"200 OK", b"Transfer-Encoding: chunked", True, False),
            (b"304 Not Modified", b"Content-Length: 5", False, False),
            (b"304 Not Modified", b"ETag: x", False, True),
            (b"204 No Content", b"Content-Length: 0", False, True),
        ):
            parser = AnswerParser(Sink(), to_head=to_head)
            parser.feed(b"HTTP/1.1 %b\r\n%b\r\n\r\n" % (status, field))
            self.assertEqual((parser.ended, parser.leaves_connection_usable), (True, usable), (status, field))

    def test_what_lets_a_connection_carry_another(self) -> None:
        """A connection can be used again if its upstream says so, by `Connection` or by its version.

        HTTP/1.0 has no chunks: who sends some nevertheless is not trusted with another request (RFC 9112 §6.1).
        """
        for version, status, fields, usable in (
            (b"1.1", b"200 OK", b"Content-Length: 0\r\n", True),
            (b"1.1", b"200 OK", b"Content-Length: 1\r\n", True),
            (b"1.1", b"200 OK", b"Content-Length: 1\r\nConnection: Keep-Alive\r\n", True),
            (b"1.1", b"200 OK", b"Content-Length: 1\r\nConnection: x\r\nconnection: y ,Close\r\n", False),
            (b"1.1", b"200 OK", b"Content-Length: 0\r\nConnection: close\r\n", False),
            (b"1.1", b"204 No Content", b"", True),
            (b"1.1", b"204 No Content", b"Connection: close\r\n", False),
            (b"1.1", b"304 Not Modified", b"Connection: close\r\n", False),
            (b"1.0", b"200 OK", b"Content-Length: 1\r\n", False),
            (b"1.0", b"200 OK", b"Content-Length: 1\r\nConnection: keep-alive\r\n", True),
            (b"1.0", b"200 OK", b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", False),
        ):
            parser = AnswerParser(Sink(), to_head=False)
            parser.feed(b"HTTP/%b %b\r\n%b\r\n" % (version, status, fields))
            if not parser.ended:
                parser.feed(b"0\r\n\r\n" if b"chunked" in fields else b"x")
            self.assertEqual((parser.ended, parser.leaves_connection_usable), (True, usable), (status, fields))

    def test_what_follows_ends_the_connection(self) -> None:
        """Once anything came behind the end, nothing more is read from the connection: the rest may be under way."""
        usable: list[bool] = []

        class Ends(Sink):
            def end(self) -> None:
                usable.append(parser.leaves_connection_usable)

        for data in (
            OK + b"Content-Length: 0\r\n\r\n",
            OK + b"Content-Length: 1\r\n\r\nx",
            CHUNKED + b"0\r\n\r\n",
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 304 Not Modified\r\n\r\n",
        ):
            for more in (b"", b"x", OK + b"Content-Length: 0\r\n\r\n"):
                parser = AnswerParser(Ends(), to_head=False)
                parser.feed(data + more)
                self.assertEqual(usable.pop(), not more, (data, more))

    def test_data_is_passed_on_at_once(self) -> None:
        """What a packet brought of the body is passed on before the next one comes."""
        sink = Sink()
        parser = AnswerParser(sink, to_head=False)
        parser.feed(CHUNKED[:-2])
        self.assertEqual(sink.names, [])
        parser.feed(b"\r\n")
        self.assertEqual(sink.names, ["head"])
        parser.feed(b"5\r\nab")
        self.assertEqual(sink.body, b"ab")
        parser.feed(b"c")
        self.assertEqual(sink.body, b"abc")

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 10_000)), st.booleans())
    def test_bodies_arrive_byte_for_byte(self, parts: list[bytes], cuts: list[int], in_chunks: bool) -> None:
        """Any body, in any chunks and packets, is the same body."""
        body = b"".join(parts)
        data = CHUNKED + chunked(parts) if in_chunks else OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
        calls = calls_of(in_packets(data, cuts), closed=False)
        self.assertEqual((calls[0][0], calls[-1]), ("head", ("end", None)))
        self.assertEqual(b"".join(value for name, value in calls if name == "data"), body)

    def test_large_body_behind_its_head(self) -> None:
        """The limit of a head does not count a body in the same packet."""
        body = b"x" * 4 * HEAD_LIMIT
        data = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
        self.assertEqual(calls_of([data], closed=False)[1:], [("data", body), ("end", None)])


class CloseTests(SynchronousTestCase):
    """The connection closes."""

    def test_before_the_end(self) -> None:
        """Every whole answer, cut anywhere, is an error when the connection closes, unless closing ends it."""
        for name, (data, to_head, calls) in WHOLE.items():
            if "until the connection closes" in name:
                continue
            for cut in range(len(data)):
                if calls_of([data[:cut]], to_head=to_head, closed=False)[-1:] != calls[-1:]:
                    error = self.assertRaises(UpstreamError, calls_of, [data[:cut]], to_head=to_head)
                    self.assertIn("closed the connection", str(error))

    def test_not_cleanly(self) -> None:
        """A reset ends no answer that lasts until the connection closes."""
        sink = Sink()
        parser = AnswerParser(sink, to_head=False)
        parser.feed(OK + b"\r\nhello")
        self.assertRaises(UpstreamError, parser.close, cleanly=False)
        self.assertEqual(sink.names, ["head", "data"])

    def test_after_the_end(self) -> None:
        """Once the answer has ended, it does not matter how the connection closes."""
        sink = Sink()
        parser = AnswerParser(sink, to_head=False)
        parser.feed(OK + b"Content-Length: 1\r\n\r\nx")
        parser.close(cleanly=False)
        self.assertEqual(sink.names, ["head", "data", "end"])

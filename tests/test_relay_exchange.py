"""One request to an upstream over one connection, with a sink that only notes what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from llama_swap.http.headers import AnswerHead
from llama_swap.relay.exchange import SMALL, Exchange
from tests.fakes_wire import Sink, Upstream, Wire, request_to

OK = b"HTTP/1.1 200 OK\r\n"
STREAM = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def connected(sink: Sink | None = None, **request: Any) -> tuple[Exchange, Sink, Wire]:
    """Return an exchange whose connection is there."""
    sink = sink or Sink()
    upstream = Upstream()
    exchange = Exchange(request_to(**request), sink, upstream.pool())
    exchange.start()
    return exchange, sink, upstream.accept()


class RequestTests(SynchronousTestCase):
    """What goes upstream."""

    def test_head_and_body(self) -> None:
        """Head and body leave as soon as there is a connection."""
        _, _, wire = connected(method=b"POST", body=b"\0body")
        self.assertEqual(wire.take(), b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n\0body")

    def test_more_pieces(self) -> None:
        """What leaves in more pieces than one does not wait for the upstream to acknowledge the first."""
        for body in (b"x" * SMALL, Pieces(3)):
            _, _, wire = connected(method=b"POST", body=body)
            self.assertTrue(wire.no_delay)

    def test_no_body(self) -> None:
        """Behind a head without a body comes nothing."""
        _, _, wire = connected()
        self.assertEqual(wire.take(), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")


class Pieces:
    """A body that is not in memory: so many pieces, and an error at the end if it cannot be read."""

    def __init__(self, count: int, *, readable: bool = True) -> None:
        self.whole = b"".join(b"%04d" % number for number in range(count))
        self.given = 0
        self._readable = readable

    def __len__(self) -> int:
        return len(self.whole)

    def pieces(self) -> Iterator[bytes]:
        """See `Body.pieces`."""
        for start in range(0, len(self.whole), 4):
            self.given += 1
            yield self.whole[start : start + 4]
        if not self._readable:
            raise OSError


class LargeBodyTests(SynchronousTestCase):
    """Bodies that are sent piece by piece."""

    HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 400\r\n\r\n"

    def setUp(self) -> None:
        """Prepare a body, and an upstream that reads nothing yet."""
        self.body = Pieces(100)
        self.upstream = Upstream()
        self.sink = Sink()
        self.exchange = Exchange(request_to(method=b"POST", body=self.body), self.sink, self.upstream.pool())
        self.exchange.start()

    def upstream_full(self) -> Wire:
        """Return the connection to an upstream that does not read."""
        filled = Wire.registerProducer

        def register(wire: Wire, producer: object, streaming: bool) -> None:
            wire.full = True
            filled(wire, producer, streaming)

        self.patch(Wire, "registerProducer", register)
        return self.upstream.accept()

    def test_whole(self) -> None:
        """Head and body arrive, and the producer is gone."""
        wire = self.upstream.accept()
        self.assertEqual(wire.take(), self.HEAD + self.body.whole)
        self.assertIsNone(wire.producer)
        wire.deliver(OK + b"Content-Length: 0\r\n\r\n")
        self.assertEqual(self.sink.names, ["head", "end"])

    def test_no_faster_than_read(self) -> None:
        """A piece is read when there is room for it."""
        wire = self.upstream_full()
        self.assertEqual((wire.take(), self.body.given), (self.HEAD, 0))
        wire.producer.resumeProducing()
        self.assertEqual((wire.take(), self.body.given), (b"0000", 1))
        wire.full = False
        wire.pull()
        self.assertEqual(wire.take(), self.body.whole[4:])

    def test_early_answer(self) -> None:
        """An answer that ends before its request did ends the connection, and the sending."""
        wire = self.upstream_full()
        wire.deliver(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(self.sink.names, ["head", "end"])
        self.assertTrue(wire.aborted)
        wire.producer.resumeProducing()  # within TLS, it is asked for more until the connection is gone
        wire.settle()
        self.assertEqual(self.body.given, 0)

    def test_early_upgrade(self) -> None:
        """Who changes protocols without having had the whole request did not understand it."""
        joiner = Mock()
        request = request_to(method=b"POST", body=self.body, upgrade=b"x")
        self.exchange = Exchange(request, self.sink, self.upstream.pool(), joiner=joiner)
        self.upstream.attempts.clear()
        self.exchange.start()
        wire = self.upstream_full()
        wire.deliver(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
        self.assertEqual((self.sink.names, wire.aborted), (["broken"], True))
        joiner.join.assert_not_called()

    def test_client_left(self) -> None:
        """Who has left has nothing sent for him."""
        wire = self.upstream_full()
        self.exchange.abort()
        wire.producer.resumeProducing()
        wire.settle()
        self.assertEqual((self.body.given, self.sink.names), (0, []))

    def test_sent_again(self) -> None:
        """Where nothing of it arrived, it is sent again from its beginning."""
        self.upstream_full().producer.resumeProducing()
        self.exchange._reused = True
        self.exchange.lost(cleanly=True, delivered=False, reason=connectionDone)
        wire = self.upstream.accept()
        wire.full = False
        wire.pull()
        self.assertEqual(wire.take(), self.HEAD + self.body.whole)

    def test_unreadable(self) -> None:
        """A body that can no longer be read ends the exchange as broken."""
        self.body._readable = False
        wire = self.upstream.accept()
        self.assertTrue(wire.aborted)
        wire.settle()
        self.assertEqual(self.sink.names, ["broken"])


class AnswerTests(SynchronousTestCase):
    """What comes back."""

    def test_in_order(self) -> None:
        """The sink hears of the head before any of the body, of each part at once, and of the end once."""
        _, sink, wire = connected()
        wire.deliver(STREAM)
        self.assertEqual(sink.calls, [("head", AnswerHead(200, b"OK", [(b"Transfer-Encoding", b"chunked")]))])
        verifyObject(IPushProducer, sink.producer)
        sink.producer.pauseProducing()
        self.assertTrue(wire.paused)
        sink.producer.resumeProducing()
        self.assertFalse(wire.paused)
        for count in range(1, 4):
            wire.deliver(b"2\r\n%d;\r\n" % count)
            self.assertTrue(sink.body.endswith(b"%d;" % count))
        wire.deliver(b"0\r\n\r\n")
        wire.settle()
        self.assertEqual((sink.names, sink.body), (["head", "data", "end"], b"1;2;3;"))

    def test_end_closes_the_connection(self) -> None:
        """An upstream that keeps its connection open is left at the end of its answer."""
        for data in (OK + b"Content-Length: 2\r\n\r\nab", STREAM + b"2\r\nab\r\n0\r\n\r\n"):
            _, sink, wire = connected()
            wire.deliver(data)
            self.assertTrue(wire.aborted)
            self.assertEqual(sink.names, ["head", "data", "end"])

    def test_client_first(self) -> None:
        """The client has its answer before any time is spent on the upstream's connection; also if that fails."""

        class Timed(Sink):
            def end(self) -> None:
                super().end()
                self.calls.append(("aborted", wire.aborted))
                raise ZeroDivisionError

        _, sink, wire = connected(Timed())
        self.assertRaises(ZeroDivisionError, wire.deliver, OK + b"Content-Length: 2\r\n\r\nab")
        self.assertEqual(sink.calls[-1], ("aborted", False))
        self.assertTrue(wire.aborted)

    def test_end_before_the_body_was_sent(self) -> None:
        """An answer may end before its request did: the rest of the request is dropped with the connection."""
        _, sink, wire = connected(method=b"POST", body=b"x" * 1_000_000)
        wire.deliver(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(sink.names, ["head", "end"])
        self.assertTrue(wire.aborted)

    def test_until_the_connection_closes(self) -> None:
        """Where closing is the end, a clean close is one, and a reset is none."""
        for reason, last in ((None, "end"), (ConnectionLost(), "broken")):
            _, sink, wire = connected()
            wire.deliver(OK + b"\r\nab")
            wire.lose(reason)
            self.assertEqual(sink.names, ["head", "data", last])

    def test_bodiless(self) -> None:
        """HEAD, 204 and 304 end with their heads."""
        for method, status in ((b"HEAD", b"200 OK"), (b"GET", b"204 No Content"), (b"GET", b"304 Not Modified")):
            _, sink, wire = connected(method=method)
            wire.deliver(b"HTTP/1.1 " + status + b"\r\nContent-Length: 7\r\n\r\n")
            self.assertEqual(sink.names, ["head", "end"])
            self.assertTrue(wire.aborted)

    def test_nothing_after_the_end(self) -> None:
        """What comes behind the end, and how the connection closes, is of no interest."""
        _, sink, wire = connected()
        wire.deliver(OK + b"Content-Length: 2\r\n\r\nabc")
        wire.aborted = False  # as if these bytes had been read already
        wire.deliver(OK + b"Content-Length: 2\r\n\r\nabc")
        wire.lose(ConnectionLost())
        self.assertEqual((sink.names, sink.body), (["head", "data", "end"], b"ab"))


class BrokenTests(SynchronousTestCase):
    """The upstream fails."""

    def test_closes_before_the_end(self) -> None:
        """Wherever the connection ends before the answer does, the sink hears of it, once."""
        for data, names in (
            (b"", ["broken"]),
            (OK, ["broken"]),
            (b"HTTP/1.1 100 Continue\r\n\r\n", ["broken"]),
            (STREAM, ["head", "broken"]),
            (STREAM + b"5\r\nab", ["head", "data", "broken"]),
            (STREAM + b"2\r\nab\r\n0\r\n", ["head", "data", "broken"]),
            (OK + b"Content-Length: 3\r\n\r\nab", ["head", "data", "broken"]),
        ):
            for reason in (None, ConnectionLost()):
                _, sink, wire = connected()
                wire.deliver(data)
                wire.lose(reason)
                self.assertEqual(sink.names, names, data)

    def test_no_http(self) -> None:
        """An answer that is none ends the connection; what follows is not read."""
        _, sink, wire = connected()
        wire.deliver(b"SSH-2.0-OpenSSH\r\n")
        self.assertTrue(wire.aborted)
        wire.settle()
        self.assertEqual(sink.names, ["broken"])

    def test_breaks_in_mid_stream(self) -> None:
        """Chunks that are none break an answer that has begun."""
        _, sink, wire = connected()
        wire.deliver(STREAM + b"2\r\nab\r\n")
        wire.deliver(b"zz\r\n")
        self.assertTrue(wire.aborted)
        wire.settle()
        self.assertEqual(sink.names, ["head", "data", "broken"])

    def test_defect_of_the_sink(self) -> None:
        """When the sink itself fails, the failure is seen, and the sink hears that its answer broke."""

        class Defective(Sink):
            def data(self, data: bytes) -> None:
                raise ZeroDivisionError

        _, sink, wire = connected(Defective())
        failed = self.assertRaises(ZeroDivisionError, wire.deliver, STREAM + b"2\r\nab\r\n")
        wire.lose(failed)  # which is what a reactor does then, besides logging it
        self.assertEqual(sink.names, ["head", "broken"])


class AbortTests(SynchronousTestCase):
    """The client leaves."""

    def aborted(self, *before: bytes) -> tuple[Sink, Wire]:
        """Return what there is after these packets and an abort."""
        exchange, sink, wire = connected()
        for data in before:
            wire.deliver(data)
        exchange.abort()
        return sink, wire

    def test_in_every_phase(self) -> None:
        """The connection is cut, not closed politely, and the sink hears nothing more."""
        phases: tuple[tuple[bytes, ...], ...] = ((), (OK,), (STREAM,), (STREAM, b"5\r\nab"))
        for before in phases:
            sink, wire = self.aborted(*before)
            heard = list(sink.calls)
            self.assertTrue(wire.aborted)
            wire.settle()
            self.assertEqual(sink.calls, heard)

    def test_bytes_under_way(self) -> None:
        """Bytes that were read before the connection was cut reach nobody."""
        sink, wire = self.aborted(STREAM)
        wire.aborted = False
        wire.deliver(b"2\r\nab\r\n0\r\n\r\n")
        self.assertEqual(sink.names, ["head"])

    def test_before_the_connection(self) -> None:
        """The attempt to connect ends, and nobody is told of it."""
        sink = Sink()
        upstream = Upstream()
        exchange = Exchange(request_to(method=b"POST", body=b"work"), sink, upstream.pool())
        exchange.start()
        exchange.abort()
        self.assertEqual((upstream.cancelled, sink.calls), (1, []))

    def test_after_the_end(self) -> None:
        """After the end it changes nothing."""
        sink, wire = self.aborted(OK + b"Content-Length: 0\r\n\r\n")
        wire.settle()
        self.assertEqual(sink.names, ["head", "end"])

    def test_from_within_the_answer(self) -> None:
        """A sink that has heard enough may abort while it is told."""
        calls: list[Callable[[], None]] = []

        class Impatient(Sink):
            def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
                super().begin(head, producer)
                calls[0]()

        exchange, sink, wire = connected(Impatient())
        calls.append(exchange.abort)
        wire.deliver(STREAM + b"2\r\nab\r\n0\r\n\r\n")
        self.assertTrue(wire.aborted)
        wire.settle()
        self.assertEqual(sink.names, ["head"])

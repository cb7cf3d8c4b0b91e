"""What is not plainly one answer to one request is refused."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import UpstreamError
from llama_swap.relay.answer import HEAD_LIMIT, AnswerParser
from tests.fakes_wire import Sink
from tests.test_relay_answer import CHUNKED, OK, calls_of


class RefusedAnswerTests(SynchronousTestCase):
    """What is not plainly one answer is an `UpstreamError`."""

    def refused(self, data: bytes, *, to_head: bool = False) -> str:
        """Return the message of the error, which is the same in one packet and byte by byte."""
        whole = self.assertRaises(UpstreamError, calls_of, [data], to_head=to_head)
        single = [data[i : i + 1] for i in range(len(data))]
        self.assertRaises(UpstreamError, calls_of, single, to_head=to_head)
        return str(whole)

    def test_transfer_encoding(self) -> None:
        """Only «chunked» has an end that can be known."""
        for value in (b"gzip", b"gzip, chunked", b"chunked, gzip", b"identity", b"xchunked", b"chunked, chunked", b""):
            for rest in (b"\r\n5\r\nhello\r\n0\r\n\r\n", b"Content-Length: 5\r\n\r\nhello"):
                self.refused(OK + b"Transfer-Encoding: " + value + b"\r\n" + rest)
                self.refused(OK + b"Transfer-Encoding: " + value + b"\r\n" + rest, to_head=True)
        self.refused(OK + b"Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")

    def test_both_framings(self) -> None:
        """A length beside chunks is what response splitting looks like."""
        for fields in (
            b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        ):
            self.assertIn("Transfer-Encoding", self.refused(OK + fields + b"\r\n0\r\n\r\n"))

    def test_lengths(self) -> None:
        """One length, written in digits, is a length."""
        for value in (b"+5", b"-5", b"0x5", b"5,5", b"5, 6", b"5 5", b"", b"five", b"5" * 30, b"\xb2"):
            self.refused(OK + b"Content-Length: " + value + b"\r\n\r\nhello")
        for second in (b"5", b"6", b"05"):
            self.refused(OK + b"Content-Length: 5\r\ncontent-length: " + second + b"\r\n\r\nhello!")

    def test_chunks(self) -> None:
        """Chunk sizes that two parsers could read differently are refused."""
        for size in (b"0x5", b"+5", b"-5", b"", b" 5", b"5 5", b"g", b"5_0", b"1" * 20):
            self.refused(CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n")
        self.refused(CHUNKED + b"5\nhello\r\n0\r\n\r\n")
        self.refused(CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n")
        self.refused(CHUNKED + b"5\r\nhello0\r\n\r\n")

    def test_heads(self) -> None:
        """What is no HTTP/1 head is none."""
        for data in (
            b"hello",
            b"<html>",
            b"SSH-2.0-OpenSSH\r\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 20\r\n\r\n",
            b"HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 2000 OK\r\n\r\n",
            OK + b"X : 1\r\n\r\n",
            OK + b"X\r\n\r\n",
            OK + b": 1\r\n\r\n",
            OK + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
            OK + b"X: a\rb\r\n\r\n",
            OK + b"X: a\0b\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
            b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/0.9 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
            b"\r\n" + OK + b"Content-Length: 0\r\n\r\n",
        ):
            self.refused(data)

    def test_large_head(self) -> None:
        """A head that does not end is given up, be it one line or many."""
        for filler in (
            b"X: " + b"x" * 2 * HEAD_LIMIT,
            b"X: y\r\n" * HEAD_LIMIT,
            b"HTTP/1.1 200 " + b"x" * 2 * HEAD_LIMIT,
        ):
            data = (filler if filler.startswith(b"HTTP") else OK + filler) + b"\r\nContent-Length: 0\r\n\r\n"
            packets = [data[i : i + 8192] for i in range(0, len(data), 8192)]
            error = self.assertRaises(UpstreamError, calls_of, packets)
            self.assertIn("head", str(error))

    def test_switching_protocols(self) -> None:
        """101, which nobody asked for, is refused with all that follows."""
        for fields in (b"", b"Upgrade: x\r\nConnection: upgrade\r\n"):
            for rest in (b"", b"raw", OK + b"Content-Length: 0\r\n\r\n"):
                sink = Sink()
                parser = AnswerParser(sink, to_head=False)
                data = b"HTTP/1.1 101 Switching Protocols\r\n" + fields + b"\r\n" + rest
                self.assertRaises(UpstreamError, parser.feed, data)
                self.assertEqual(sink.calls, [])

    def test_many_interim_answers(self) -> None:
        """However many interim answers come at once, they are left out."""
        sink = Sink()
        AnswerParser(sink, to_head=False).feed(b"HTTP/1.1 100 C\r\n\r\n" * 5000 + OK + b"Content-Length: 1\r\n\r\nx")
        self.assertEqual(sink.names, ["head", "data", "end"])

    def test_nothing_after_an_error(self) -> None:
        """A parser that raised stays broken: nothing that comes later passes for an answer."""
        sink = Sink()
        parser = AnswerParser(sink, to_head=False)
        self.assertRaises(UpstreamError, parser.feed, OK + b"Content-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\n")
        self.assertRaises(UpstreamError, parser.feed, OK + b"Content-Length: 1\r\n\r\nx")
        self.assertRaises(UpstreamError, parser.close, cleanly=True)
        self.assertEqual(sink.calls, [])

    @settings(deadline=None)
    @given(
        st.sampled_from([b"", b"HTTP/1.1 ", OK, CHUNKED, OK + b"Content-Length: ", OK + b"Transfer-Encoding: "]),
        st.lists(st.binary(max_size=30) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\n", b": ", b"HTTP/1.1 1"])),
        st.booleans(),
        st.booleans(),
    )
    def test_junk(self, start: bytes, packets: list[bytes], to_head: bool, cleanly: bool) -> None:
        """Whatever comes, the worst is an `UpstreamError`, and the order of the calls holds."""
        sink = Sink()
        parser = AnswerParser(sink, to_head=to_head)
        try:
            for packet in [start, *packets]:
                parser.feed(packet)
            parser.close(cleanly=cleanly)
        except UpstreamError:
            self.assertNotIn("end", sink.names)
        self.assertIn(
            sink.names, ([], ["head"], ["head", "data"], ["head", "end"], ["head", "data", "end"]), sink.calls
        )


class DefectTests(SynchronousTestCase):
    """A defect of ours must not be blamed on the upstream."""

    def test_receiver_fails(self) -> None:
        """What a receiver raises comes out as it is."""
        for name in ("head", "data", "end"):

            class Defective(Sink):
                """Fails in one of its methods."""

            def fail(*_: object) -> None:
                raise ZeroDivisionError

            setattr(Defective, name, fail)
            parser = AnswerParser(Defective(), to_head=False)
            self.assertRaises(ZeroDivisionError, parser.feed, OK + b"Content-Length: 1\r\n\r\nx")

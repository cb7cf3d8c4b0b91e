"""Heads of requests: what is taken, and that nothing doubtful is."""

from __future__ import annotations

from weakref import ref

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.errors import BadRequest, HeadTooLarge, SwapError
from llama_swap.server.heads import HEAD_LIMIT, RequestHead, judge_unfinished, parse_request_head
from tests.support_smuggling import DOUBTFUL_HEADS, GOOD_HEADS


def head(*lines: bytes) -> bytes:
    """Return the text of a head."""
    return b"\r\n".join([*lines, b"", b""])


class ParseTests(SynchronousTestCase):
    """Whole heads."""

    def test_fields(self) -> None:
        """Everything is kept as it came, except the blanks around values."""
        parsed = parse_request_head(
            head(b"POST /a%2Fb//c?d=%20 HTTP/1.1", b"hOST: h:80", b"X:", b"x:\t a  b\xe9 \t", b"Content-Length: 007")
        )
        fields = ((b"hOST", b"h:80"), (b"X", b""), (b"x", b"a  b\xe9"), (b"Content-Length", b"007"))
        expected = RequestHead(
            b"POST", b"/a%2Fb//c?d=%20", b"HTTP/1.1", fields, 7, chunked=False, keeps_open=True, expects_continue=False
        )
        self.assertEqual(parsed, expected)

    def test_body(self) -> None:
        """A body has a length, or comes in chunks, or is not there; an empty one is there."""
        for field, length, chunked in (
            (b"X: 1", None, False),
            (b"Content-Length: 0", 0, False),
            (b"Content-Length: 999999999999999999", 10**18 - 1, False),
            (b"Transfer-Encoding: Chunked", None, True),
        ):
            parsed = parse_request_head(head(b"POST / HTTP/1.1", b"Host: h", field))
            self.assertEqual((parsed.length, parsed.chunked), (length, chunked), field)

    def test_connection(self) -> None:
        """A connection stays open unless one of the words of `Connection` closes it, or the client is of HTTP/1.0."""
        for line, fields, keeps_open in (
            (b"GET / HTTP/1.1", [], True),
            (b"GET / HTTP/1.1", [b"Connection: keep-alive"], True),
            (b"GET / HTTP/1.1", [b"Connection: foo, Close"], False),
            (b"GET / HTTP/1.1", [b"Connection: foo", b"Connection: close"], False),
            (b"GET / HTTP/1.1", [b"Connection: closet"], True),
            (b"GET / HTTP/1.0", [b"Connection: keep-alive"], False),
        ):
            self.assertEqual(parse_request_head(head(line, b"Host: h", *fields)).keeps_open, keeps_open, fields)

    def test_expect(self) -> None:
        """Only clients of HTTP/1.1 may wait for a 100."""
        for version, expects in ((b"1", True), (b"0", False)):
            parsed = parse_request_head(head(b"POST / HTTP/1." + version, b"Host: h", b"Expect: 100-Continue"))
            self.assertEqual(parsed.expects_continue, expects)

    def test_good(self) -> None:
        """What honest clients send is taken."""
        for text in GOOD_HEADS:
            self.assertEqual(parse_request_head(text).method, text.partition(b" ")[0])
            for end in range(1, len(text)):
                judge_unfinished(text[:end])

    def test_doubtful(self) -> None:
        """What two readers could read in two ways is refused."""
        for text in DOUBTFUL_HEADS:
            with self.assertRaises(BadRequest, msg=repr(text)):
                parse_request_head(text)

    def test_limits(self) -> None:
        """64 KiB and 200 fields are taken; a byte, or a field, more is not."""
        start = b"GET / HTTP/1.1\r\nHost: h\r\n"
        filler = 64 * 1024 - len(start + b"X: \r\n\r\n")
        for size, fits in ((filler, True), (filler + 1, False)):
            self.takes(start + b"X: " + b"x" * size + b"\r\n\r\n", fits=fits)
        for count, fits in ((199, True), (200, False)):  # besides the Host
            self.takes(start + b"X: 1\r\n" * count + b"\r\n", fits=fits)

    def test_large_ones_are_not_kept(self) -> None:
        """Heads that clients repeat are kept, so that they are read once; large ones would fill memory."""
        for size, kept in ((100, True), (50_000, False)):
            text = head(b"GET / HTTP/1.1", b"Host: h", b"X: " + b"x" * size)
            self.assertEqual(ref(parse_request_head(text))() is not None, kept)

    def takes(self, text: bytes, *, fits: bool) -> None:
        """Check whether a head is taken, or too large."""
        if fits:
            parse_request_head(text)
        else:
            self.assertRaises(HeadTooLarge, parse_request_head, text)

    def test_what_is_wrong(self) -> None:
        """The message says what is wrong, as far as that can be known."""
        for text, words in (
            (head(b"GET http://h/ HTTP/1.1", b"Host: h"), "must be a path"),
            (head(b"GET / HTTP/2.0", b"Host: h"), "METHOD /PATH HTTP/1.1"),
            (head(b"GET / HTTP/1.10", b"Host: h"), "METHOD /PATH HTTP/1.1"),
            (head(b"G@T / HTTP/1.1", b"Host: h"), "its head is malformed"),
            (head(b"GET / HTTP/1.1"), "exactly one Host"),
            (head(b"GET / HTTP/1.1", b"Host: a b"), "Host is malformed"),
            (head(b"GET / HTTP/1.1", b"Host: h", b"Content-Length: " + b"1" * 5000), "Content-Length"),
            (head(b"GET / HTTP/1.1", b"Host: h", b"bad name: 1"), "line 3 of its head is not NAME: VALUE"),
            (head("GET /modèle/é HTTP/1.1".encode(), b"Host: h"), "0xC3 behind '/mod'; what is"),
            (head("GET /modèle/é HTTP/1.1".encode(), b"Host: h"), "here as %C3%A8"),
            (head("GET /x/模型 HTTP/1.1".encode(), b"Host: h"), "here as %E6%A8%A1"),
            (head("GET /modèle/ HTTP/1.1".encode("latin-1"), b"Host: h"), "0xE8 behind '/mod'; what is"),
            (head("GET /modèle/ HTTP/1.1".encode("latin-1"), b"Host: h"), "here as %E8"),
            (head(b"GET /" + b"x" * 1000 + b"\x7f HTTP/1.1", b"Host: h"), f"0x7F behind '{'x' * 40}'; what is"),
            (head(b"GET /a#b HTTP/1.1", b"Host: h"), "here as %23"),
        ):
            self.assertIn(words, str(self.assertRaises(BadRequest, parse_request_head, text)))

    def test_long_and_hostile(self) -> None:
        """The time for a head grows with its length, whatever it holds."""
        for filler in (b" ", b"\t", b"a", b"a:", b"a:\r\n", b":", b"\r", b"\r\n", b"a: \r\n "):
            text = b"GET / HTTP/1.1\r\nHost: h\r\n" + filler * (HEAD_LIMIT // len(filler) - 20) + b"\0\r\n\r\n"
            self.assertRaises(SwapError, parse_request_head, text)


class UnfinishedTests(SynchronousTestCase):
    """Heads of which the end is still to come."""

    def test_too_long(self) -> None:
        """A head that has grown too long is not waited for."""
        judge_unfinished(b"G" * HEAD_LIMIT)
        self.assertRaises(HeadTooLarge, judge_unfinished, b"G" * (HEAD_LIMIT + 1))

    def test_hopeless(self) -> None:
        """Nor is what begins as no head does: TLS, bare line feeds, the first line of another protocol."""
        for text in (
            b"\x16\x03\x01\x02",
            b"\0",
            b" GET",
            b"\n",
            b"GET /\r\n",
            b"EHLO mail\r\n",
            b"GET / HTTP/2.0\r\nHost: h\r\n",
            b"HELO\r\nGET / HTTP/1.1\r\n",
            b"GET / HTTP/1.1\nHost: h\n\n",
            b"GET / HTTP/1.1\r\nHost: h\nX: 1\n\n",
            b"GET / HTTP/1.1\r\r\n\n",
        ):
            self.assertRaises(BadRequest, judge_unfinished, text)

    @given(st.binary(max_size=60))
    def test_any_bytes(self, noise: bytes) -> None:
        """Whatever comes, it is a head or an error of ours."""
        for text in (
            noise,
            b"GET /" + noise + b" HTTP/1.1\r\nHost: h\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: h\r\n" + noise + b"\r\n\r\n",
        ):
            for read in (parse_request_head, judge_unfinished):
                try:
                    read(text)
                except SwapError:
                    continue

"""Following chunks without taking them apart."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from llama_swap.http.chunked import LAST_CHUNK, LINE_LIMIT, TRAILER_LIMIT, BodyLength, ChunkedBody, MalformedChunks


def read(body: bytes, cuts: list[int], *, raw: bool) -> tuple[bytes, ChunkedBody]:
    """Return what comes of a body that arrives in slices; if `raw`, whole chunks take the short way."""
    chunks = ChunkedBody(raw=raw)
    places = sorted({0, len(body), *(cut % (len(body) + 1) for cut in cuts)})
    slices = [body[start:end] for start, end in pairwise(places)]
    passed = [data if raw and chunks.is_whole_chunk(data) else chunks.feed(data) for data in slices if not chunks.ended]
    return b"".join(passed), chunks


def chunked(parts: list[bytes], extension: bytes = b"") -> bytes:
    """Return parts as chunks, without the last one."""
    return b"".join(b"%X%b\r\n%b\r\n" % (len(part), extension, part) for part in parts if part)


class ChunkedBodyTests(SynchronousTestCase):
    """What passes, and what does not."""

    @settings(deadline=None)
    @given(
        st.lists(st.binary(max_size=40)),
        st.lists(st.integers(0, 500)),
        st.sampled_from([b"", b";a", b' ; n="v"']),
        st.sampled_from([b"", b"X-Late: 1\r\n", b"A: b\r\nC:\r\n"]),
    )
    def test_any_cuts(self, parts: list[bytes], cuts: list[int], extension: bytes, trailers: bytes) -> None:
        """However a body is cut into slices, its chunks arrive byte for byte, or what is in them does."""
        sent = chunked(parts, extension)
        for raw, expected in ((True, sent), (False, b"".join(parts))):
            passed, chunks = read(sent + b"0\r\n" + trailers + b"\r\n", cuts, raw=raw)
            self.assertEqual(passed, expected)
            self.assertTrue(chunks.ended)

    @settings(deadline=None)
    @given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 500)), st.sampled_from([b"", b" ; n=1"]))
    def test_length(self, parts: list[bytes], cuts: list[int], extension: bytes) -> None:
        """How much of it is the body, however it is cut."""
        sent = chunked(parts, extension)
        places = sorted({0, len(sent), *(cut % (len(sent) + 1) for cut in cuts)})
        slices = [sent[start:end] for start, end in pairwise(places)]
        in_chunks, plain = BodyLength(chunked=True), BodyLength(chunked=False)
        self.assertEqual(sum(map(in_chunks.of, slices)), sum(map(len, parts)))
        self.assertEqual(sum(map(plain.of, slices)), len(sent))

    def test_slices_pass_at_once(self) -> None:
        """Every byte that cannot be part of the last chunk is passed on in the slice that brings it."""
        chunks = ChunkedBody(raw=True)
        self.assertEqual(chunks.feed(b"5\r\nhe"), b"5\r\nhe")
        self.assertEqual(chunks.feed(b"llo"), b"llo")
        self.assertEqual(chunks.feed(b"\r\n1"), b"\r\n")
        self.assertEqual(chunks.feed(b"0\r\nx"), b"10\r\nx")

    def test_whole_slices_are_not_copied(self) -> None:
        """A slice that ends with a chunk is passed as the object that it is."""
        data = chunked([b"data: 1\n\n", b"data: 2\n\n"])
        self.assertIs(ChunkedBody(raw=True).feed(data), data)

    def test_short_way(self) -> None:
        """One whole chunk may take the short way, unless it is the last, or only looks like one within another."""
        event = chunked([b"data: 1\n\n"])
        for before, data, expected in (
            (b"", event, True), (event, event, True), (b"", b"00" + event, True), (b"1\r\na\r\n", event, True),
            (b"", event + event, False), (b"", event[:-1], False), (b"", event[:-1] + b"x", False),
            (b"", LAST_CHUNK, False), (b"", event + LAST_CHUNK, False), (b"", chunked([b"a"], b";x"), False),
            (b"2", event, False), (b"ff\r\n", event, False), (b"1\r\na", event, False), (b"0\r\n", event, False),
        ):  # fmt: skip
            chunks = ChunkedBody(raw=True)
            chunks.feed(before)
            self.assertIs(chunks.is_whole_chunk(data), expected, repr((before, data)))

    def test_surplus(self) -> None:
        """What comes behind the end is kept apart."""
        chunks = ChunkedBody(raw=True)
        self.assertEqual(chunks.feed(b"1\r\na\r\n" + LAST_CHUNK + b"HTTP/1.1 200 OK\r\n"), b"1\r\na\r\n")
        self.assertEqual(chunks.surplus, b"HTTP/1.1 200 OK\r\n")

    def test_malformed(self) -> None:
        """What is not plainly a chunk is refused, in whatever slices it comes."""
        for body in (
            b"x\r\n", b"-1\r\n", b"+1\r\na\r\n", b"0x1\r\na\r\n", b" 1\r\na\r\n", b"1\na\n", b"1\r\nab\r\n",
            b"1\r\na\n\n", b"1_0\r\n", b"\r\n", b"1;a\rb\r\na\r\n", b"1;\x00\r\na\r\n", b"1000000000000000\r\n",
            b"1\r\na0\r\n\r\n", b"1 \r\na\r\n", b"0\r\nX: 1\n\nGET / HTTP/1.1\r\n\r\n", b"0\r\n\nX: 1\r\n\r\n",
            b"0" * 15 + b"1\r\na\r\n",
        ):  # fmt: skip
            for cuts in ([], list(range(len(body)))):
                with self.assertRaises(MalformedChunks, msg=repr(body)):
                    read(body, cuts, raw=True)

    def test_bounds(self) -> None:
        """Neither a size line nor the trailers may go on for ever."""
        for start, limit in ((b"1;", LINE_LIMIT), (b"0\r\nX: ", TRAILER_LIMIT)):
            chunks = ChunkedBody(raw=True)
            chunks.feed(start)
            with self.assertRaises(MalformedChunks):
                for _ in range(limit // 64 + 2):
                    chunks.feed(b"a" * 64)

    def test_many_trailers(self) -> None:
        """However many there are, each is read once; together they are bounded as well."""
        chunks = ChunkedBody(raw=True)
        chunks.feed(b"0\r\n" + b"X: 1\r\n" * 1000 + b"Y")
        self.assertEqual(chunks._held, b"Y")
        with self.assertRaises(MalformedChunks):
            for _ in range(TRAILER_LIMIT // 5):
                chunks.feed(b":1\r\nX")

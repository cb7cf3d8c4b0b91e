"""Reads an upstream's answer, and judges its framing.  Pure: bytes in, calls out.

Heads are parsed by llhttp (httptools), and remembered: a server sends the same few over and over.  The framing (RFC
9112 §6.3) is decided here, strictly: a proxy that guesses lets one answer pass for two (for such attacks, see §11.2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NoReturn, Protocol

import httptools

from llama_swap.errors import InvalidAnswer, UpstreamError
from llama_swap.http.chunked import ChunkedBody, MalformedChunks
from llama_swap.http.headers import AnswerHead, Fields, Framing, values_of, words
from llama_swap.relay.tunnel import is_agreed

HEAD_LIMIT = 64 * 1024
REMEMBERED_HEADS = 256
_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")  # llhttp reads others, and other protocols, as well


class AnswerReceiver(Protocol):
    """Who is told of an answer, in this order: `head`, any number of `data`, `end`."""

    def head(self, head: AnswerHead) -> None:
        """The final status line and fields; interim (1xx) answers are left out."""

    def data(self, data: bytes) -> None:
        """A part of the body."""

    def end(self) -> None:
        """The answer is complete, by its own framing."""


class AnswerParser:
    """Parses one answer.  Whatever follows its end is dropped.

    If `raw`, a chunked body is handed on with its chunk framing, except for the last chunk; else decoded.  `upgrade`
    is the protocol that the client asked for: an answer 101 that agrees to it is final, and everything behind it is
    handed on until the connection closes.
    """

    __slots__ = (
        "_chunks", "_head", "_left", "_raw", "_receiver", "_surplus", "_to_head", "_unparsed", "_upgrade", "ended",
        "is_whole_chunk",
    )  # fmt: skip

    def __init__(
        self, receiver: AnswerReceiver, *, to_head: bool, raw: bool = False, upgrade: bytes | None = None
    ) -> None:
        self._receiver = receiver
        self._to_head = to_head  # an answer to HEAD has the fields of a body that does not come
        self._raw = raw
        self._upgrade = upgrade
        self._unparsed = b""  # what came of the head
        self._head: AnswerHead | None = None
        self._left = 0
        self._chunks: ChunkedBody | None = None
        self._surplus = False
        self.ended = False
        self.is_whole_chunk: Callable[[bytes], bool] | None = None
        """Whether the data that comes next is one whole chunk, which need not be fed: it can be handed on as it came.
        None where that does not apply."""

    @property
    def began(self) -> bool:
        """Whether anything of an answer has come."""
        return self._head is not None or bool(self._unparsed)

    @property
    def has_head(self) -> bool:
        """Whether the head of the answer has come."""
        return self._head is not None

    @property
    def leaves_connection_usable(self) -> bool:
        """Whether the answer has ended, and its connection can carry another."""
        return self.ended and not self._surplus and self._head is not None and self._head.keeps_open

    @property
    def came_in_chunks(self) -> bool:
        """Whether the upstream sent the answer in chunks."""
        return self._chunks is not None

    def feed(self, data: bytes) -> None:
        """Take what came from the upstream.

        @raise UpstreamError: it is no answer that may be passed on.
        """
        if self.ended:
            self._surplus = True
        elif self._head is None:
            self._feed_head(data)
        elif self._chunks is not None:
            self._feed_chunks(self._chunks, data)
        elif self._head.framing is Framing.LENGTH:
            self._feed_length(data)
        else:
            self._receiver.data(data)

    def close(self, *, cleanly: bool) -> None:
        """The connection is closed; `cleanly` by the upstream's own will.

        @raise UpstreamError: the answer was not complete.
        """
        if self.ended:
            return
        if not (cleanly and self._head is not None and self._head.framing is Framing.UNTIL_CLOSE):
            raise UpstreamError("it closed the connection before its answer was complete")
        self._end()

    def _feed_head(self, data: bytes) -> None:
        self._unparsed += data
        while end := self._unparsed.find(b"\r\n\r\n") + 1:
            head, rest = parse_answer_head(self._unparsed[: end + 3]), self._unparsed[end + 3 :]
            if head.status == 101:
                self._judge_upgrade(head)
            elif head.status < 200:  # an interim answer: the final one follows
                self._unparsed = rest
                continue
            self._begin(head, rest)
            return
        _judge_unfinished(self._unparsed)

    def _judge_upgrade(self, head: AnswerHead) -> None:
        if self._upgrade is None:
            _refuse("it changed protocols without being asked to")
        if not is_agreed(self._upgrade, head.fields) or head.framing is not Framing.UNTIL_CLOSE:
            _refuse("it changed protocols, but not as it was asked to")

    def _begin(self, head: AnswerHead, rest: bytes) -> None:
        """Take the head, and the `rest` of what has come."""
        self._head, self._unparsed = head, b""
        self._receiver.head(head)
        if self._to_head or head.status in (204, 304) or (head.framing is Framing.LENGTH and not head.length):
            # Some servers send the announced body nevertheless; it could be taken for the beginning of the next answer.
            self._surplus = bool(rest) or head.framing is Framing.CHUNKED or head.length > 0
            self._end()
            return
        if head.framing is Framing.CHUNKED:
            self._chunks = ChunkedBody(raw=self._raw)
            if self._raw:
                self.is_whole_chunk = self._chunks.is_whole_chunk
        else:
            self._left = head.length
        if rest:
            self.feed(rest)

    def _feed_chunks(self, chunks: ChunkedBody, data: bytes) -> None:
        try:
            passed = chunks.feed(data)
        except MalformedChunks as error:
            _refuse(str(error))
        if passed:
            self._receiver.data(passed)
        if chunks.ended:
            self._surplus = bool(chunks.surplus)
            self._end()

    def _feed_length(self, data: bytes) -> None:
        self._surplus = len(data) > self._left
        data = data[: self._left]
        self._left -= len(data)
        self._receiver.data(data)
        if not self._left:
            self._end()

    def _end(self) -> None:
        self.ended = True
        self.is_whole_chunk = None
        self._receiver.end()


@lru_cache(REMEMBERED_HEADS)
def parse_answer_head(text: bytes) -> AnswerHead:
    """Parse a status line and header section, up to and with its empty line.

    @raise InvalidAnswer: it is malformed, or does not say clearly where its body ends.
    """
    collected = _Collector()
    parser = httptools.HttpResponseParser(collected)
    try:
        parser.feed_data(text)
    except httptools.HttpParserUpgrade:
        pass  # judged by who knows what was asked for
    except httptools.HttpParserError as error:
        _refuse(str(error))
    if len(text) > HEAD_LIMIT:
        _refuse(f"its head exceeds {HEAD_LIMIT} bytes")
    if not (collected.complete and text.startswith(_VERSIONS)):
        _refuse("its head is malformed")
    status = parser.get_status_code()
    framing, length = _judge(collected.fields, status)
    keeps_open = _keeps_open(collected.fields, framing, is_modern=text.startswith(_VERSIONS[0]))
    return AnswerHead(status, collected.reason, collected.fields, framing, length, keeps_open)


class _Collector:
    """What httptools calls while it parses a head."""

    def __init__(self) -> None:
        self.reason = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.complete = True


def _judge(fields: Fields, status: int) -> tuple[Framing, int]:
    """Return the framing of the body, and its length where the framing is LENGTH (RFC 9112 §6.3)."""
    lengths = {value.strip() for value in values_of(fields, b"content-length")}
    codings = [value.strip().lower() for value in values_of(fields, b"transfer-encoding")]
    if codings and codings != [b"chunked"]:
        _refuse("its Transfer-Encoding is not «chunked»")
    if codings and lengths:
        _refuse("it has both a Content-Length and a Transfer-Encoding")
    if len(lengths) > 1 or not all(length.isdigit() and len(length) < 20 for length in lengths):
        _refuse("it has no single Content-Length")
    if codings:
        return Framing.CHUNKED, 0
    if lengths:
        return Framing.LENGTH, int(lengths.pop())
    return (Framing.LENGTH if status in (204, 304) else Framing.UNTIL_CLOSE), 0


def _keeps_open(fields: Fields, framing: Framing, *, is_modern: bool) -> bool:
    """Whether the connection can be used again (RFC 9112 §9.3); HTTP/1.0 has no chunks that could be trusted."""
    options = words(values_of(fields, b"connection"))
    if framing is Framing.UNTIL_CLOSE or b"close" in options:
        return False
    return is_modern or (b"keep-alive" in options and framing is Framing.LENGTH)


def _judge_unfinished(text: bytes) -> None:
    """Refuse a head that can no longer become one, rather than wait for its end."""
    if len(text) > HEAD_LIMIT:
        _refuse(f"its head exceeds {HEAD_LIMIT} bytes")
    if not b"HTTP/1.".startswith(text[:7]) or text.count(b"\n") != text.count(b"\r\n"):
        _refuse("its head is malformed")


def _refuse(why: str) -> NoReturn:
    raise InvalidAnswer(why)

"""Reads an upstream's answer, and judges its framing.  Pure: bytes in, calls out.

The heavy work is llhttp's (by httptools).  Which framing an answer may have is decided here, because a proxy that
guesses lets one answer pass for two: RFC 9112 §6.3, and for the attacks §11.2.
"""

from __future__ import annotations

from typing import Protocol

import httptools

from llama_swap.errors import UpstreamError
from llama_swap.relay.headers import AnswerHead

HEAD_LIMIT = 64 * 1024


class AnswerReceiver(Protocol):
    """Who is told of an answer, in this order: `head`, any number of `data`, `end`."""

    def head(self, head: AnswerHead) -> None:
        """The final status line and fields; interim (1xx) answers are left out."""

    def data(self, data: bytes) -> None:
        """A part of the body, its transfer coding removed."""

    def end(self) -> None:
        """The answer is complete, by its own framing."""


class AnswerParser:
    """Parses one answer.  Whatever follows its end is ignored."""

    def __init__(self, receiver: AnswerReceiver, *, to_head: bool) -> None:
        self._receiver = receiver
        self._to_head = to_head  # an answer to HEAD has the fields of a body that does not come
        self._parser = httptools.HttpResponseParser(self)
        self._head_size = 0
        self._reason = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._in_body = False
        self._until_close = False
        self._violation: str | None = None
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Take what came from the upstream.

        @raise UpstreamError: it is no answer that may be passed on.
        """
        if self.ended:
            return
        if not self._in_body:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise (error.__context__ or error) from None  # the receiver's own, which is no fault of the answer
        except httptools.HttpParserUpgrade:
            self._violation = "it changed protocols without being asked to"
        except httptools.HttpParserError as error:
            if not self.ended:
                self._violation = self._violation or str(error)
        if not self._in_body and self._head_size > HEAD_LIMIT and not self.ended:
            self._violation = f"its head exceeds {HEAD_LIMIT} bytes"
        if self._violation is not None:
            raise UpstreamError(f"the model's server sent an answer that is not valid HTTP/1.1: {self._violation}")

    def close(self, *, cleanly: bool) -> None:
        """The connection is closed; `cleanly` by the upstream's own will.

        @raise UpstreamError: in the midst of the answer.
        """
        if self.ended:
            return
        if not (self._until_close and cleanly):
            raise UpstreamError("the model's server closed the connection before its answer was complete")
        self._end()

    # -- called by httptools ----------------------------------------------------------------------------------

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # later ones are trailers
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.ended or status < 200:
            return
        self._violation = self._judge(status)
        if self._violation is None:
            self._in_body = True
            self._receiver.head(AnswerHead(status, self._reason, self._fields))
            if self._to_head or status in (204, 304):
                self._end()

    def on_body(self, data: bytes) -> None:
        if self._in_body and not self.ended:
            self._receiver.data(data)

    def on_message_complete(self) -> None:
        if self._in_body:
            if not self.ended:
                self._end()
        elif self._violation is None:  # an interim answer: the final one follows
            self._reason, self._fields, self._head_size = b"", [], 0

    def _end(self) -> None:
        self.ended = True
        self._receiver.end()

    def _judge(self, status: int) -> str | None:
        """Return what is wrong with the framing, or None; see whether the body lasts until the connection closes."""
        lengths = {value.strip() for name, value in self._fields if name.lower() == b"content-length"}
        codings = [value.strip().lower() for name, value in self._fields if name.lower() == b"transfer-encoding"]
        if codings and codings != [b"chunked"]:
            return "its Transfer-Encoding is not «chunked»"
        if codings and lengths:
            return "it has both a Content-Length and a Transfer-Encoding"
        if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
            return "it has no single Content-Length"
        self._until_close = not codings and not lengths and status not in (204, 304)
        return None

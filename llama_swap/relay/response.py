"""Writes an upstream's answer to the client, no faster than the client reads it.

It bypasses twisted.web's own writing of heads and chunks, which would take the answer apart and put it together again.
"""

from __future__ import annotations

import re
from typing import Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request

from llama_swap.errors import SwapError
from llama_swap.http.chunked import LAST_CHUNK, BodyLength
from llama_swap.http.headers import AnswerHead, Framing
from llama_swap.relay.sending import send_now


class AnswerObserver(Protocol):
    """Sees an answer pass.  It is called for every event of every stream, so it must be fast."""

    def begin(self, status: int, fields: tuple[tuple[bytes, bytes], ...], *, chunked: bool) -> None:
        """The answer begins; if `chunked`, `data` gets the body with its chunk framing."""

    def data(self, data: bytes) -> None:
        """A part of the body is passed on."""


class Relaying(Protocol):
    """Who has an answer written to a client."""

    def failed(self, request: Request, error: SwapError, has_begun: bool) -> None:
        """The answer is broken.  If it has not begun, the client must still be answered."""

    def finished(self, error: SwapError | None) -> None:
        """Called once: with None when the answer is complete, or with the error that broke it.

        The next request on the client's connection begins after that.
        """


class ResponseRelay:
    """An `AnswerSink` in front of a twisted.web request.  Once the client has left, no method may be called."""

    __slots__ = (
        "_adds_chunks", "_framing", "_has_chunks", "_length", "_observer", "_producer", "_registered", "_relaying",
        "_request", "_waiting",
    )  # fmt: skip

    def __init__(self, request: Request, relaying: Relaying, observer: AnswerObserver) -> None:
        self._request: Any = request
        self._relaying = relaying
        self._observer = observer
        self._waiting: list[bytes] = []  # what this turn has brought so far
        self._producer: IPushProducer | None = None
        self._registered = False
        self._framing = Framing.LENGTH
        self._has_chunks = False
        self._adds_chunks = False
        self._length: BodyLength | None = None

    @property
    def takes_chunks(self) -> bool:
        """Whether the client understands a chunked body (RFC 9112 §7.1)."""
        return bool(self._request.clientproto == b"HTTP/1.1")

    def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
        """See `AnswerSink.begin`."""
        self._producer = producer
        self._framing = head.framing
        if head.framing is not Framing.LENGTH and self.takes_chunks:
            self._has_chunks = self._request.method != b"HEAD" and head.status not in (101, 204, 304)
            self._adds_chunks = self._has_chunks and head.framing is Framing.UNTIL_CLOSE
        self._request.code = head.status
        self._request.startedWriting = 1
        passes_chunks = self._has_chunks and not self._adds_chunks
        if self._request.counts:
            self._length = BodyLength(chunked=passes_chunks)
        self._observer.begin(head.status, head.fields, chunked=passes_chunks)
        self._waiting.append(_head_text(self._request, head, chunked=self._has_chunks))

    def data(self, data: bytes) -> None:
        """See `AnswerSink.data`."""
        self._observer.data(data)
        if self._length is not None:
            self._request.sentLength += self._length.of(data)
        self._waiting.append(b"%x\r\n%b\r\n" % (len(data), data) if self._adds_chunks else data)

    def flush(self) -> None:
        """See `AnswerSink.flush`."""
        if self._waiting:
            if not self._registered and self._producer is not None:
                self._registered = True
                self._request.registerProducer(self._producer, True)  # the whole of back-pressure
            self._send()

    def end(self) -> None:
        """See `AnswerSink.end`."""
        if self._has_chunks:
            self._waiting.append(LAST_CHUNK)
        if self._waiting:
            self._send()
        self._relaying.finished(None)
        self._unregister()
        self._request.relayed()

    def broken(self, error: SwapError) -> None:
        """See `AnswerSink.broken`: an error where there is still room for one, else a visibly broken answer."""
        self._relaying.finished(error)
        has_begun = self._producer is not None
        self._relaying.failed(self._request, error, has_begun)
        if has_begun:
            self.flush()
            self._unregister()
            self._cut()

    def _send(self) -> None:
        waiting = self._waiting
        data = waiting[0] if len(waiting) == 1 else b"".join(waiting)
        waiting.clear()
        send_now(self._request.channel.transport, data)

    def _unregister(self) -> None:
        if self._registered:
            self._request.unregisterProducer()

    def _cut(self) -> None:
        """End an answer so that nobody can take it for whole.

        With a length or chunks, the client sees that something is missing, and what was sent still arrives.  Without
        either, only a reset tells it.
        """
        if self._framing is Framing.LENGTH or self.takes_chunks:
            self._request.loseConnection()
        else:
            self._request.channel.forceAbortClient()


def _head_text(request: Any, head: AnswerHead, *, chunked: bool) -> bytes:
    """Return the head of the answer as the client gets it."""
    fields = head.end_to_end_lines
    if request.cors:
        fields = _CORS.sub(b"", fields) + request.cors
    text = b"%b %b%b" % (request.clientproto, head.status_line, fields)
    if chunked:
        text += b"Transfer-Encoding: chunked\r\n"
    if not request.channel.persistent and request.clientproto == b"HTTP/1.1":
        text += b"Connection: close\r\n"
    return text + b"\r\n"


_CORS = re.compile(rb"^access-control-allow-(origin|credentials):.*\r\n", re.IGNORECASE | re.MULTILINE)
"""CORS fields of the model's server, which are replaced where the proxy sets its own."""

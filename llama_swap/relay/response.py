"""Writes an upstream's answer to the client, no faster than the client reads it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request
from twisted.web.http_headers import Headers

from llama_swap.errors import UpstreamError
from llama_swap.relay.headers import AnswerHead, end_to_end


class ResponseRelay:
    """An `AnswerSink` in front of a twisted.web request.

    `finished` is called once, when all of the answer has come or it broke; the next request on the client's connection
    begins after that.  Once the client has left, nothing may be called.
    """

    def __init__(
        self, request: Request, refuse: Callable[[Request, UpstreamError], None], finished: Callable[[], None]
    ) -> None:
        self._request = request
        self._refuse = refuse
        self._finished = finished

    def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
        """See `AnswerSink.begin`."""
        request = self._request
        request.setResponseCode(head.status, _printable(head.reason))
        request.responseHeaders = _client_headers(head)  # and none of those that twisted.web would have invented
        request.registerProducer(producer, True)
        request.write(b"")  # the head goes out at once, however long the first event takes

    def data(self, data: bytes) -> None:
        """See `AnswerSink.data`."""
        self._request.write(data)

    def end(self) -> None:
        """See `AnswerSink.end`."""
        self._finished()
        self._request.unregisterProducer()
        self._request.finish()

    def broken(self, error: UpstreamError) -> None:
        """See `AnswerSink.broken`: an error where there is still room for one, else a visibly broken answer."""
        self._finished()
        if not self._request.startedWriting:
            self._refuse(self._request, error)
        else:
            self._request.unregisterProducer()
            _cut(self._request)


def _client_headers(head: AnswerHead) -> Headers:
    headers = Headers()
    for name, value in end_to_end(head.fields):
        headers.addRawHeader(name, value)
    if b"text/event-stream" in (headers.getRawHeaders(b"content-type") or [b""])[0]:
        headers.setRawHeaders(b"X-Accel-Buffering", [b"no"])  # asks an nginx before us not to hold events back
    return headers


def _printable(reason: bytes) -> bytes:
    """Return a reason phrase without anything that could end its line (RFC 9112 §4)."""
    return bytes(byte for byte in reason if byte == 0x09 or 0x20 <= byte != 0x7F)


def _cut(request: Request) -> None:
    """End an answer so that nobody can take it for whole.

    With a length or chunks, what is missing shows, and what was sent before still arrives.  Without either, only a
    reset does.
    """
    if request.chunked or request.responseHeaders.hasHeader(b"content-length"):
        request.loseConnection()
    else:
        request.channel.forceAbortClient()

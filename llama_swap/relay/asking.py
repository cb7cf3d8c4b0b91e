"""Asks other servers for what the proxy wants to know: a status, which is how health is probed, or a small body."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime

from llama_swap.errors import SwapError, UpstreamError
from llama_swap.http.headers import AnswerHead, Fields, OutboundFields, OutboundRequest
from llama_swap.relay.endpoints import Dialer
from llama_swap.relay.exchange import Exchange

MOST = 1024 * 1024
"""Bytes of a body."""
MOST_UNREAD = 64 * 1024
"""Bytes of a body that nobody wants."""
UNREAD_MAY_TAKE = 0.25
"""Seconds from the head of an answer to the end of such a body; there are servers that never end it."""


def get_status(dialer: Dialer, url: str, fields: Fields = ()) -> Deferred[int]:
    """GET `url` (http or https) with these header fields, and fire with the status of the answer.

    The body is read and dropped, up to `MOST_UNREAD` bytes and for `UNREAD_MAY_TAKE` seconds: servers that cannot write
    it out complain in their logs.  Fails with an UpstreamError if there is no answer.  Cancelling closes the
    connection; a status that has come still counts.
    """
    pool = dialer.pool(url)
    sink = _StatusSink(pool.clock)
    sink.exchange = exchange = Exchange(_request_for(url, fields), sink, pool)
    exchange.start()
    return sink.status


def get_body(dialer: Dialer, url: str, fields: Fields = ()) -> Deferred[bytes]:
    """GET `url` (http or https) with these header fields, and fire with the body of the answer.

    Fails with an UpstreamError if there is no answer, if its status is not 200, or if it has more than `MOST` bytes.
    Cancelling closes the connection.
    """
    sink = _BodySink()
    sink.exchange = exchange = Exchange(_request_for(url, fields), sink, dialer.pool(url))
    exchange.start()
    return sink.body


def _request_for(url: str, fields: Fields = ()) -> OutboundRequest:
    """Return a GET for what is at `url`, after which the connection is not needed any more."""
    authority, _, path = url.partition("://")[2].partition("/")
    return OutboundRequest(
        method=b"GET",
        target=b"/" + path.encode(),
        host=authority.encode(),
        fields=OutboundFields(fields),
        client=None,
        body=None,
        last=True,
    )


@define(eq=False)
class _StatusSink:
    """An `AnswerSink` that keeps the status, and fires when the answer is over."""

    _clock: IReactorTime
    exchange: Exchange = field(init=False)
    status: Deferred[int] = field(init=False)
    _heard: int | None = None
    _received: int = 0
    _too_late: IDelayedCall | None = None

    @status.default
    def _(self) -> Deferred[int]:
        return Deferred(lambda _: self._leave())

    def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
        self._heard = head.status
        self._too_late = self._clock.callLater(UNREAD_MAY_TAKE, self._leave)

    def data(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MOST_UNREAD:
            self._leave()

    def flush(self) -> None:
        """Nothing is done with what came."""

    def end(self) -> None:
        self._tell()

    def broken(self, error: SwapError) -> None:
        if self._heard is None:
            self.status.errback(error)
        self._tell()

    def _leave(self) -> None:
        self.exchange.abort()
        self._tell()

    def _tell(self) -> None:
        if self._too_late is not None and self._too_late.active():
            self._too_late.cancel()
        if self._heard is not None:
            self.status.callback(self._heard)


@define(eq=False)
class _BodySink:
    """An `AnswerSink` that keeps what it gets, up to a limit."""

    exchange: Exchange = field(init=False)
    body: Deferred[bytes] = field(init=False)
    _pieces: bytearray = field(factory=bytearray)

    @body.default
    def _(self) -> Deferred[bytes]:
        return Deferred(lambda _: self.exchange.abort())

    def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
        if head.status != 200:
            self.exchange.cancel(UpstreamError(f"it answers with status {head.status}"))

    def data(self, data: bytes) -> None:
        self._pieces += data
        if len(self._pieces) > MOST:
            self.exchange.cancel(UpstreamError(f"its answer has more than {MOST} bytes"))

    def flush(self) -> None:
        """What came is kept already."""

    def end(self) -> None:
        self.body.callback(bytes(self._pieces))

    def broken(self, error: SwapError) -> None:
        self.body.errback(error)

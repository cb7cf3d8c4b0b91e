"""Asks an upstream for nothing but a status: how health is probed."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer

from llama_swap.errors import SwapError
from llama_swap.relay.endpoints import Dialer
from llama_swap.relay.exchange import Exchange
from llama_swap.relay.headers import AnswerHead, OutboundRequest


def get_status(dialer: Dialer, url: str) -> Deferred[int]:
    """GET `url` (http or https), and fire with the status of the answer; its body is not read.

    Fails if there is no answer.  Once cancelled, the connection is closed.
    """
    authority, _, path = url.partition("://")[2].partition("/")
    request = OutboundRequest(
        method=b"GET",
        target=b"/" + path.encode(),
        host=authority.encode(),
        fields=(),
        client=None,
        body=None,
        last=True,
    )
    sink = _StatusSink()
    sink.exchange = exchange = Exchange(request, sink, dialer.pool(url))
    exchange.start()
    return sink.status


@define(eq=False)
class _StatusSink:
    """An `AnswerSink` that has heard enough when the answer begins."""

    exchange: Exchange = field(init=False)
    status: Deferred[int] = field(init=False)

    @status.default
    def _(self) -> Deferred[int]:
        return Deferred(lambda _: self.exchange.abort())

    def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
        self.exchange.abort()
        self.status.callback(head.status)

    def data(self, data: bytes) -> None:
        """Not reached: the exchange was ended when its answer began."""

    def flush(self) -> None:
        """Not reached either."""

    def end(self) -> None:
        """Not reached either."""

    def broken(self, error: SwapError) -> None:
        self.status.errback(error)

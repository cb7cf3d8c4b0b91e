"""One request to an upstream, and its answer, over one connection.

A connection serves one request.  That costs a connect, and gives certainty: a request is never sent on a connection
that its upstream is about to close, and so never has to be sent twice.
"""

from __future__ import annotations

from typing import Protocol as TypingProtocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from llama_swap.errors import UpstreamError
from llama_swap.relay.answer import AnswerParser
from llama_swap.relay.headers import AnswerHead, OutboundRequest


class AnswerSink(TypingProtocol):
    """Where an answer goes: `begin`, any number of `data`, then one of `end` and `broken`; or `broken` at once."""

    def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
        """The answer begins.  `producer` may be paused when the sink cannot take more."""

    def data(self, data: bytes) -> None:
        """A part of the body."""

    def end(self) -> None:
        """The answer is complete."""

    def broken(self, error: UpstreamError) -> None:
        """No answer, or not all of it, will come."""


class ExchangeFactory(Factory):
    """Gives a connection to an exchange that waits for one."""

    noisy = False

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def buildProtocol(self, addr: IAddress | None) -> Exchange:
        """See `IProtocolFactory.buildProtocol`."""
        return self._exchange


class Exchange(Protocol):
    """Sends a request once connected, and passes the answer to a sink as it comes."""

    transport: ITCPTransport

    def __init__(self, request: OutboundRequest, sink: AnswerSink) -> None:
        self._request = request
        self._sink: AnswerSink | None = sink
        self._parser = AnswerParser(self, to_head=request.method == b"HEAD")

    def abort(self) -> None:
        """The client is gone: the upstream must notice at once, and stop its work.  Nothing more reaches the sink."""
        self._sink = None
        if self.connected:
            self.transport.abortConnection()

    # -- from the network -------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        if self._sink is None:  # aborted, but the connection could not be called off any more
            self.transport.abortConnection()
            return
        self.transport.setTcpNoDelay(True)
        self.transport.writeSequence([self._request.head(), self._request.body or b""])

    def dataReceived(self, data: bytes) -> None:
        try:
            self._parser.feed(data)
        except UpstreamError as error:
            self._break(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        try:
            self._parser.close(cleanly=reason.check(ConnectionDone) is not None)
        except UpstreamError as error:
            self._break(error)

    def _break(self, error: UpstreamError) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            self.transport.abortConnection()
            sink.broken(error)

    # -- from the parser --------------------------------------------------------------------------------------

    def head(self, head: AnswerHead) -> None:
        if self._sink is not None:
            self._sink.begin(head, IPushProducer(self.transport))

    def data(self, data: bytes) -> None:
        if self._sink is not None:
            self._sink.data(data)

    def end(self) -> None:
        sink, self._sink = self._sink, None
        if sink is not None:
            self.transport.abortConnection()
            sink.end()

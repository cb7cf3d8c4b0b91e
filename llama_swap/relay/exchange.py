"""One request to an upstream, and its answer."""

from __future__ import annotations

from typing import ClassVar, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure

from llama_swap.errors import DEFECT, InvalidAnswer, SwapError, UpstreamError
from llama_swap.http.headers import AnswerHead, OutboundRequest
from llama_swap.relay.answer import AnswerParser
from llama_swap.relay.connection import UpstreamConnection
from llama_swap.relay.endpoints import cannot_connect, speaks_no_tls
from llama_swap.relay.local import Attempt
from llama_swap.relay.pool import Pool


class AnswerSink(Protocol):
    """Where an answer goes: `begin`, any number of `data`, then one of `end` and `broken`; or `broken` at once."""

    def begin(self, head: AnswerHead, producer: IPushProducer) -> None:
        """The answer begins.  `producer` may be paused when the sink cannot take more."""

    def data(self, data: bytes) -> None:
        """A part of the body."""

    def flush(self) -> None:
        """That was all for now."""

    def end(self) -> None:
        """The answer is complete."""

    def broken(self, error: SwapError) -> None:
        """No answer, or not all of it, will come."""


class Joiner(Protocol):
    """Who takes part in an upgrade."""

    def join(self, upstream: UpstreamConnection) -> None:
        """The upstream agrees to it: the connection is a tunnel from now on."""


class Exchange:
    """Sends a request, and passes the answer to a sink as it comes; if `raw`, with its chunk framing.

    A request reaches the upstream at most once: it is sent again only if provably nothing of it arrived.
    """

    __slots__ = (
        "_acknowledged", "_connecting", "_connection", "_joined", "_joiner", "_parser", "_pool", "_raw", "_request",
        "_reused", "_sink",
    )  # fmt: skip

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        request: OutboundRequest,
        sink: AnswerSink,
        pool: Pool,
        *,
        raw: bool = False,
        joiner: Joiner | None = None,
    ) -> None:
        self._request = request
        self._sink: AnswerSink | None = sink
        self._pool = pool
        self._parser: AnswerParser | None = None
        self._raw = raw
        self._joiner = joiner
        self._connection: UpstreamConnection | None = None
        self._connecting: Attempt | None = None
        self._reused = False
        self._joined = False
        self._acknowledged = False

    def start(self) -> None:
        """Send the request, over a kept connection or a new one.

        The parser for the answer is made afterwards, while the upstream works.
        """
        request = self._request
        connection = None if request.last or request.upgrade else self._pool.take()
        if connection is None:
            self._connect()
        else:
            self._reused = True
            self._carry(connection)
        if self._sink is not None:
            self._parser = AnswerParser(self, to_head=request.method == b"HEAD", raw=self._raw, upgrade=request.upgrade)

    def abort(self) -> None:
        """The client has left: close the connection, so that the upstream stops working.  The sink hears no more."""
        self._forget()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._joined and self._connection is not None:
            self._connection.leave()
        else:
            self._drop_connection()

    def cancel(self, error: SwapError) -> None:
        """Do the same, but tell the sink why."""
        sink = self._sink
        self.abort()
        if sink is not None:
            sink.broken(error)

    @property
    def is_answered(self) -> bool:
        """Whether the head of an answer has come."""
        return self._parser is not None and self._parser.has_head

    def hears_nothing(self) -> bool:
        """See `Asker.hears_nothing`."""
        parser, connection = self._parser, self._connection
        return parser is not None and not parser.began and (connection is None or connection.is_open())

    def _connect(self) -> None:
        attempt = self._pool.connect(self)
        if self._sink is not None and self._connection is None:  # it has not ended already
            self._connecting = attempt

    def connected(self, connection: UpstreamConnection) -> None:
        """See `Waiting.connected`."""
        self._connecting = None
        try:
            self._carry(connection)
        except Exception:  # noqa: BLE001 -- a defect of ours: whoever waits must hear of an end nevertheless
            self._log.failure("a defect of llama-swap, in asking an upstream")
            self._break(UpstreamError(DEFECT))

    def _carry(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        head, body = self._request.head(), self._request.body
        if body is None:
            connection.carry(self, head)
        elif not isinstance(body, bytes):
            connection.carry_large(self, head, body)
        elif len(body) < SMALL:
            connection.carry(self, head + body)
        else:
            connection.carry(self, head, body)

    def unreachable(self, failure: Failure) -> None:
        """See `Waiting.unreachable`."""
        self._connecting = None
        self._break(cannot_connect(failure))

    # -- from the connection ----------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """See `Carried.received`."""
        parser, sink = self._parser, self._sink
        assert parser is not None and sink is not None, "a connection carries nothing that is over"
        is_whole_chunk = parser.is_whole_chunk
        if is_whole_chunk is not None and is_whole_chunk(data):  # most events of most streams
            sink.data(data)
            sink.flush()
            return
        try:
            parser.feed(data)
        except UpstreamError as error:
            self._break(error)
        if self._sink is not None:
            self._sink.flush()
            if not self._acknowledged and self._connection is not None:  # the first piece was not all of the answer
                self._acknowledged = True
                self._connection.acknowledge()

    def lost(self, *, cleanly: bool, delivered: bool, reason: Failure) -> None:
        """See `Carried.lost`."""
        self._connection = None
        parser = self._parser
        assert parser is not None, "as above"
        if self._reused and not parser.began:
            self._pool.doubt()
            if not delivered:
                self._reused = False
                self._connect()
                return
        try:
            parser.close(cleanly=cleanly)
        except UpstreamError as error:
            self._break((None if parser.began else speaks_no_tls(reason)) or error)

    # -- from the parser --------------------------------------------------------------------------------------

    def head(self, head: AnswerHead) -> None:
        """See `AnswerReceiver.head`."""
        if self._sink is not None and self._connection is not None:
            if head.status == 101 and not self._connection.has_sent_request:
                raise InvalidAnswer("it changed protocols before it had the whole request")
            self._sink.begin(head, self._connection)
            if head.status == 101 and self._joiner is not None:
                self._joiner.join(self._connection)
                self._joined = True

    def data(self, data: bytes) -> None:
        """See `AnswerReceiver.data`."""
        if self._sink is not None:
            self._sink.data(data)

    def end(self) -> None:
        """See `AnswerReceiver.end`."""
        connection, self._connection = self._connection, None
        parser = self._parser
        sink = self._forget()
        try:
            if sink is not None:
                sink.end()  # first of all: the client waits
        finally:
            if connection is not None and parser is not None:
                self._part_from(connection, parser)

    def _part_from(self, connection: UpstreamConnection, parser: AnswerParser) -> None:
        """The answer was the last thing of ours on this connection."""
        if not connection.release():
            connection.abort()
        elif parser.leaves_connection_usable and not self._request.last:
            self._pool.keep(connection, after_chunks=parser.came_in_chunks)
        else:
            connection.close()

    def _break(self, error: UpstreamError) -> None:
        self._drop_connection()
        sink = self._forget()
        if sink is not None:
            sink.broken(error)

    def _forget(self) -> AnswerSink | None:
        """The exchange is over: drop all references, and return the sink that must still be told.

        A reference cycle would keep the whole request until the garbage collector runs, which makes each a fifth more
        expensive.
        """
        if not self._reused:
            self._pool.forget(self)
        sink, self._sink = self._sink, None
        self._parser = self._joiner = None
        return sink

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()


SMALL = 64 * 1024
"""Bodies up to this size are sent in one piece with their head."""

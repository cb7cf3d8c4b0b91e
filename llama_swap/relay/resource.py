"""Owns a request once its model is there: sends it upstream, and relays the answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from llama_swap.errors import DEFECT, Cancelled, NobodyListens, SwapError, UpstreamError
from llama_swap.http.headers import OutboundRequest
from llama_swap.relay.connection import UpstreamConnection
from llama_swap.relay.exchange import AnswerSink, Exchange
from llama_swap.relay.pool import Pool
from llama_swap.relay.response import AnswerObserver, ResponseRelay
from llama_swap.relay.tunnel import join


class ResponseSink(AnswerSink, Protocol):
    """Writes an answer to a client."""

    @property
    def takes_chunks(self) -> bool:
        """Whether a chunked body can be passed to it with its chunk framing."""


class ReverseProxyResource(Resource):
    """Relays one request to an upstream.

    `sink` makes what writes the answer to the client, of the arguments of `ResponseRelay`.
    `header_timeout` is how many seconds the head of the answer may take; 0: any.
    `joined` is called if the two ends agree to leave HTTP, and the request has become a tunnel.
    `over` is called exactly once: when the answer was passed on, or with the error that ended it before, which is
    `Cancelled` if the client left.  Then, if nothing of an answer was passed on, `refuse` is to tell the client.
    """

    isLeaf = True
    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        outbound: OutboundRequest,
        pool: Pool,
        upstream: str,
        *,
        refuse: Callable[[Request, SwapError], None],
        over: Callable[[SwapError | None], None],
        observer: AnswerObserver,
        header_timeout: float = 0,
        joined: Callable[[], None] | None = None,
        sink: Callable[..., ResponseSink] = ResponseRelay,
    ) -> None:
        super().__init__()
        self._outbound = outbound
        self._pool = pool
        self._upstream = upstream
        self._refuse = refuse
        self._over = over
        self._observer = observer
        self._header_timeout = header_timeout
        self._joined = joined
        self._sink = sink
        self._too_late: IDelayedCall | None = None
        self._ended = False

    def render(self, request: Request) -> int:
        """See `IResource.render`."""
        client: Any = request
        relay = self._sink(request, self._failed, self._end, self._observer)
        self._exchange = exchange = Exchange(
            self._outbound, relay, self._pool, raw=relay.takes_chunks, join=partial(self._join, request)
        )
        try:
            exchange.start()
            if not self._ended:
                client.left = self._client_left
            if self._header_timeout and not self._ended:
                self._too_late = self._pool.clock.callLater(self._header_timeout, self._time_out)
        except Exception:  # noqa: BLE001 -- whatever it is, only this knows what has begun
            self._log.failure("a defect of llama-swap, in asking {upstream}", upstream=self._upstream)
            exchange.cancel(UpstreamError(DEFECT))
        return NOT_DONE_YET

    def cancel(self, error: SwapError) -> None:
        """Give up the request; its client gets `error`, or sees its answer break off."""
        self._exchange.cancel(error)

    def _join(self, request: Request, upstream: UpstreamConnection) -> None:
        join(request, upstream)
        if self._joined is not None:
            self._joined()

    def _time_out(self) -> None:
        self._too_late = None
        if not self._exchange.is_answered:
            self._exchange.cancel(
                UpstreamError(f"no answer within {self._header_timeout:g} s (timeouts.responseHeader)")
            )

    def _failed(self, request: Request, error: SwapError, has_begun: bool) -> None:
        if has_begun:
            self._log.warn("{upstream}: an answer broke off: {error}", upstream=self._upstream, error=error)
        elif isinstance(error, Cancelled):
            self._refuse(request, error)
        else:
            self._log.warn("{upstream}: {error}", upstream=self._upstream, error=error)
            kind = NobodyListens if isinstance(error, NobodyListens) else UpstreamError
            self._refuse(request, kind(f"{self._upstream}: {error}"))

    def _client_left(self) -> None:
        """Also called when the answer was cut here: then it is over already."""
        if not self._ended:
            self._end(Cancelled("the client left before it had all of the answer"))
            self._exchange.abort()

    def _end(self, error: SwapError | None) -> None:
        if not self._ended:
            self._ended = True
            if self._too_late is not None:
                self._too_late.cancel()
                self._too_late = None
            self._over(error)

"""From the grant on, a request is owned here: upstream it goes, and its answer back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from llama_swap.errors import SwapError, UpstreamError
from llama_swap.relay.exchange import Exchange
from llama_swap.relay.headers import OutboundRequest
from llama_swap.relay.pool import Pool
from llama_swap.relay.response import ResponseRelay
from llama_swap.relay.tunnel import join


class ReverseProxyResource(Resource):
    """Relays one request to an upstream.

    `over` is called exactly once: when the answer was passed on, when the upstream failed, or when the client left.
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
        over: Callable[[], None],
    ) -> None:
        super().__init__()
        self._outbound = outbound
        self._pool = pool
        self._upstream = upstream
        self._refuse = refuse
        self._over = over
        self._ended = False

    def render(self, request: Request) -> int:
        """See `IResource.render`."""
        relay = ResponseRelay(request, self._failed, self._end)
        exchange = Exchange(self._outbound, relay, self._pool, raw=relay.takes_chunks, join=partial(join, request))
        request.notifyFinish().addErrback(self._client_left, exchange)
        exchange.start()
        return NOT_DONE_YET

    def _failed(self, request: Request, error: UpstreamError) -> None:
        if request.startedWriting:
            self._log.warn("{upstream}: an answer broke off: {error}", upstream=self._upstream, error=error)
        else:
            self._log.warn("{upstream}: {error}", upstream=self._upstream, error=error)
            self._refuse(request, UpstreamError(f"{self._upstream}: {error}"))

    def _client_left(self, _: Failure, exchange: Exchange) -> None:
        """Also called when the answer was cut here: then it is over already."""
        if not self._ended:
            self._end()
            exchange.abort()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._over()

"""Owns a request once its model is there: sends it upstream, and relays the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

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


class Requester(Protocol):
    """Who has a request relayed."""

    def over(self, error: SwapError | None) -> None:
        """Called exactly once: when the answer was passed on, or with the error that ended it before.

        That is `Cancelled` if the client left.
        """

    def unanswered(self, request: Any, error: SwapError) -> None:
        """Called after `over`, if nothing of an answer was passed on: the client must still be told."""

    def joined(self) -> None:
        """The two ends agree to leave HTTP; the request has become a tunnel."""


@implementer(IResource)
class Leaf:
    """A resource for one request.  Twisted's own base class makes a dictionary for children, in each."""

    __slots__ = ()
    isLeaf = True

    def render(self, request: Any) -> int:
        """See `IResource.render`."""
        raise NotImplementedError

    def getChildWithDefault(self, name: bytes, request: Request) -> Leaf:  # twisted.web's name
        """There are no children."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:  # noqa: N802  # twisted.web's name
        """There can be none."""
        raise NotImplementedError


class ReverseProxyResource(Leaf):
    """Relays one request to an upstream, whose `description` is for logs and errors.

    `sink` makes what writes the answer to the client, of the arguments of `ResponseRelay`.
    `header_timeout` is how many seconds the head of the answer may take; 0: any.
    """

    __slots__ = (
        "_description", "_ended", "_exchange", "_header_timeout", "_observer", "_outbound", "_pool", "_request",
        "_requester", "_sink", "_too_late",
    )  # fmt: skip

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        outbound: OutboundRequest,
        pool: Pool,
        description: str,
        requester: Requester,
        observer: AnswerObserver,
        *,
        header_timeout: float = 0,
        sink: Callable[..., ResponseSink] = ResponseRelay,
    ) -> None:
        self._outbound = outbound
        self._pool = pool
        self._description = description
        self._requester = requester
        self._observer = observer
        self._header_timeout = header_timeout
        self._sink = sink
        self._too_late: IDelayedCall | None = None
        self._ended = False

    def render(self, request: Request) -> int:
        """See `IResource.render`."""
        client: Any = request
        self._request = client
        sink = self._sink(request, self, self._observer)
        self._exchange = exchange = Exchange(self._outbound, sink, self._pool, raw=sink.takes_chunks, joiner=self)
        try:
            exchange.start()
            if not self._ended:
                client.left = self._client_left
            if self._header_timeout and not self._ended:
                self._too_late = self._pool.clock.callLater(self._header_timeout, self._time_out)
        except Exception:  # noqa: BLE001 -- whatever it is, only this knows what has begun
            self._log.failure("a defect of llama-swap, in asking {upstream}", upstream=self._description)
            exchange.cancel(UpstreamError(DEFECT))
        return NOT_DONE_YET

    def cancel(self, error: SwapError) -> None:
        """Give up the request; its client gets `error`, or sees its answer break off."""
        self._exchange.cancel(error)

    def join(self, upstream: UpstreamConnection) -> None:
        """See `Joiner.join`."""
        join(self._request, upstream)
        self._requester.joined()

    def _time_out(self) -> None:
        self._too_late = None
        if not self._exchange.is_answered:
            self._exchange.cancel(
                UpstreamError(f"no answer within {self._header_timeout:g} s (timeouts.responseHeader)")
            )

    def failed(self, request: Request, error: SwapError, has_begun: bool) -> None:
        """See `Relaying.failed`."""
        if has_begun:
            self._log.warn("{upstream}: an answer broke off: {error}", upstream=self._description, error=error)
        elif isinstance(error, Cancelled):
            self._requester.unanswered(request, error)
        else:
            self._log.warn("{upstream}: {error}", upstream=self._description, error=error)
            kind = NobodyListens if isinstance(error, NobodyListens) else UpstreamError
            self._requester.unanswered(request, kind(f"{self._description}: {error}"))

    def _client_left(self) -> None:
        """Also called when the answer was cut here: then it is over already."""
        if not self._ended:
            self.finished(Cancelled("the client left before it had all of the answer"))
            self._exchange.abort()

    def finished(self, error: SwapError | None) -> None:
        """See `Relaying.finished`."""
        if not self._ended:
            self._ended = True
            if self._too_late is not None:
                self._too_late.cancel()
                self._too_late = None
            self._requester.over(error)

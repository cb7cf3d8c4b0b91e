"""Between a route that knows the model and the relay that serves it: the lease."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from attrs import field, frozen
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET

from llama_swap.config.model import ModelConfig, Peer
from llama_swap.errors import Cancelled, NobodyListens, NotFound, SwapError, TooManyRequests
from llama_swap.http.headers import Body, OutboundFields, OutboundRequest
from llama_swap.metrics.inflight import InFlight, InFlightRequest
from llama_swap.relay.resource import Leaf, ResponseSink, ReverseProxyResource
from llama_swap.relay.response import ResponseRelay
from llama_swap.routing.lease import Lease
from llama_swap.routing.names import Names
from llama_swap.routing.peers import PeerModel, with_key
from llama_swap.routing.router import Router
from llama_swap.scheduling.commands import Target
from llama_swap.server.errors import refuse
from llama_swap.server.request import SwapRequest, client_name
from llama_swap.web.destinations import Destination, Pools
from llama_swap.web.failures import refuse_failure
from llama_swap.web.peering import PeerForwarding

if TYPE_CHECKING:
    from llama_swap.web.loading import OpenStream

DOUBTED = 5.0
"""Seconds for connecting to a peer that did not answer when it was last asked."""


@frozen
class Forwarder:
    """Makes the resources that wait for a model and relay a request to it."""

    router: Router
    _pools: Pools
    _in_flight: InFlight
    _destinations: dict[str, Destination] = field(factory=dict, init=False)
    _peers: dict[str, Destination] = field(factory=dict, init=False)

    @property
    def names(self) -> Names:
        """What clients may call the models."""
        return self.router.names

    def forward(
        self,
        request: SwapRequest,
        target: Target | PeerModel,
        uri: bytes,
        body: bytes | Body | None,
        *,
        upgrade: bytes | None = None,
        metered: bool = True,
    ) -> Leaf:
        """Return the resource that sends `request` to `target`, with `uri` as its path and query.

        Only if it is `metered` does it count against the limit, and is recorded when it is over.

        @raise NotFound: its peer is not configured any more.
        @raise TooManyRequests: `globalConcurrencyLimit` is reached.
        """
        if isinstance(target, Target):
            noted = self._note(request, target.model, uri, body, metered)
            return Forwarding(self, target, uri, body=body, noted=noted, upgrade=upgrade)
        peers = self.router.peers
        peer = peers.configured.get(target.peer)
        if peer is None:
            raise NotFound(f"peer {target.peer} was taken out of the configuration")
        # Whatever could fail comes before the note, because only the resource ends the note.
        destination = self._peer(target.peer, peer)
        fields = OutboundFields(with_key(peer, request.head.outbound.kept))
        noted = self._note(request, str(target), uri, body, metered, counted_as=peers.counted_as(target))
        return PeerForwarding(
            target, peers, destination, uri=uri, fields=fields, body=body, noted=noted, upgrade=upgrade
        )

    def _note(
        self,
        request: SwapRequest,
        model: str,
        uri: bytes,
        body: bytes | Body | None,
        metered: bool,
        *,
        counted_as: str | None = None,
    ) -> InFlightRequest:
        """Add `request` to those under way, if the limit allows another one."""
        limit = self.router.config.global_concurrency_limit
        if limit and metered and self._in_flight.inferences() >= limit:
            raise TooManyRequests(
                f"Too many requests: {limit} are in flight or waiting already (globalConcurrencyLimit)"
            )
        return self._in_flight.add(
            model,
            method=request.method,
            path=uri.partition(b"?")[0],
            fields=request.head.outbound.kept,
            client=client_name(request),
            body=body if isinstance(body, bytes) else None,  # spooled ones are too large for captures
            metered=metered,
            counted_as=counted_as,
        )

    def destination(self, model: ModelConfig) -> Destination:
        """Return the destination of `model`, with its kept connections."""
        known = self._destinations.get(model.id)
        url, timeouts = model.proxy, model.timeouts
        if known is None or not known.fits(url, timeouts.connect, timeouts.keepalive):
            known = self._destinations[model.id] = Destination.at(
                url,
                self._pools,
                timeouts.connect,
                timeouts.keepalive,
                description=f"model {model.id} at {url}",
                is_local=model.is_local,
            )
        return known

    def _peer(self, name: str, peer: Peer) -> Destination:
        known = self._peers.get(name)
        url, timeout, keepalive = peer.proxy, peer.timeouts.connect, peer.timeouts.keepalive
        if not self.router.peers.answers(name):
            timeout = min(timeout or DOUBTED, DOUBTED)
        if known is None or not known.fits(url, timeout, keepalive):
            known = self._peers[name] = Destination.at(
                url, self._pools, timeout, keepalive, description=f"peer {name} at {url}", is_local=False
            )
        return known


class Forwarding(Leaf):
    """Waits for a lease on a model, then hands the request to the relay.

    If the model died just before, so that nothing heard the request, both are done once more.
    """

    __slots__ = (
        "_body", "_forwarder", "_lease", "_noted", "_opened", "_target", "_tried_again", "_upgrade", "_uri",
    )  # fmt: skip

    _lease: Lease

    def __init__(
        self,
        forwarder: Forwarder,
        target: Target,
        uri: bytes,
        *,
        body: bytes | Body | None,
        noted: InFlightRequest,
        upgrade: bytes | None,
    ) -> None:
        self._forwarder = forwarder
        self._target = target
        self._uri = uri
        self._body = body
        self._noted = noted
        self._upgrade = upgrade
        self._tried_again = False
        self._opened: OpenStream | None = None

    def render(self, request: SwapRequest) -> int:
        """See `IResource.render`."""
        lease = self._forwarder.router.acquire_now(self._target)
        if lease is not None:
            self._relay(lease, request)
            return NOT_DONE_YET
        router = self._forwarder.router
        model, states = router.config.models.get(self._target.model), router.upstreams.states
        shows_loading = model is not None and model.send_loading_state and states().get(model.id) != "ready"
        waiting = maybeDeferred(router.acquire, self._target)
        if shows_loading and not waiting.called:  # a refusal is told with its status
            self._open_stream(request)
        self._await(waiting, request)
        return NOT_DONE_YET

    def _await(self, waiting: Deferred[Lease], request: SwapRequest) -> None:
        self._noted.cancel = partial(self._give_up, waiting, request)
        if not waiting.called:  # else it is refused already
            request.notifyFinish().addErrback(_withdraw, waiting)
        waiting.addCallback(self._relay, request)
        waiting.addErrback(self._refuse, request)

    def _open_stream(self, request: SwapRequest) -> None:
        """Begin a stream that says what the request waits for (`sendLoadingState`)."""
        from llama_swap.web.loading import OpenStream, wants_stream

        router = self._forwarder.router
        if wants_stream(self._uri, self._body):
            self._opened = OpenStream(request, router.clock, self._target.model, router.waiting())

    def _relay(self, lease: Lease, request: SwapRequest) -> None:
        try:
            self._hand_over(lease, request)
        except Exception:  # noqa: BLE001 -- nobody else could release the lease
            lease.release()
            self._refuse(Failure(), request)

    def _hand_over(self, lease: Lease, request: SwapRequest) -> None:
        """Hand the request and the lease to the relay, which ends both."""
        self._lease = lease
        destination = self._forwarder.destination(lease.model)  # as configured when it was started
        noted = self._noted
        outbound = OutboundRequest(
            method=noted.method,
            target=destination.path + self._uri,
            host=(destination.is_local and request.head.value(b"host")) or destination.authority,
            fields=request.head.outbound,
            client=noted.client,
            body=self._body,
            upgrade=self._upgrade,
        )
        sink: Callable[..., ResponseSink] = ResponseRelay
        if self._opened is not None:
            self._opened.loaded()
            outbound, sink = self._opened.answerable(outbound), self._opened.sink
        relay = ReverseProxyResource(
            outbound,
            destination.pool,
            destination.description,
            self,
            noted,
            header_timeout=lease.model.timeouts.response_header,
            sink=sink,
        )
        noted.grant()
        noted.cancel = relay.cancel
        relay.render(request)

    def over(self, error: SwapError | None) -> None:
        """See `Requester.over`."""
        self._lease.release()
        if error is None or not self._is_worth_another_try(error):
            self._noted.over(error)

    def joined(self) -> None:
        """See `Requester.joined`."""
        if self._lease.model.compat.ignore_websockets:
            self._lease.release(used=False)

    def unanswered(self, request: SwapRequest, error: SwapError) -> None:
        """See `Requester.unanswered`.  The lease is released already."""
        if self._is_worth_another_try(error):
            self._tried_again = True
            self._await(maybeDeferred(self._forwarder.router.acquire_again, self._lease, self._target, error), request)
        else:
            self._tell(request, error)

    def _is_worth_another_try(self, error: SwapError | None) -> bool:
        return isinstance(error, NobodyListens) and not self._tried_again and self._opened is None

    def _give_up(self, waiting: Deferred[Lease], request: SwapRequest, error: Cancelled) -> None:
        """Withdraw the request; `error` says who ended it."""
        self._noted.over(error)
        waiting.cancel()
        self._tell(request, error)

    def _tell(self, request: SwapRequest, error: SwapError) -> None:
        if self._opened is None:
            refuse(request, error)
        else:
            self._opened.fail(error)

    def _refuse(self, failure: Failure, request: SwapRequest) -> None:
        if failure.check(CancelledError):
            self._noted.over(Cancelled("the client left while its request waited"))
        else:
            error = failure.value if isinstance(failure.value, SwapError) else SwapError(failure.getErrorMessage())
            self._noted.over(error)
            if self._opened is None:
                refuse_failure(request, failure)
            else:
                self._opened.fail(error)


def _withdraw(_: Failure, waiting: Deferred[Lease]) -> None:
    """The client has left: stop waiting for a lease, if it has none yet."""
    waiting.cancel()

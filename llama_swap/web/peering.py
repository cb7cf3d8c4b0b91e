"""Between a route that knows a peer's model and the relay: nothing is loaded, and nothing is waited for."""

from __future__ import annotations

from twisted.web.http import Request
from twisted.web.server import NOT_DONE_YET

from llama_swap.errors import Cancelled, NobodyListens, SwapError, Unavailable, UpstreamError
from llama_swap.http.headers import Body, OutboundFields, OutboundRequest
from llama_swap.metrics.inflight import InFlightRequest
from llama_swap.relay.resource import Leaf, ReverseProxyResource
from llama_swap.routing.peers import PeerModel, Peers
from llama_swap.server.errors import refuse
from llama_swap.web.destinations import Destination


class PeerForwarding(Leaf):
    """Sends a request to a peer."""

    __slots__ = ("_destination", "_header_timeout", "_noted", "_outbound", "_peers", "_target")

    def __init__(
        self,
        target: PeerModel,
        peers: Peers,
        destination: Destination,
        *,
        uri: bytes,
        fields: OutboundFields,
        body: bytes | Body | None,
        noted: InFlightRequest,
        upgrade: bytes | None,
    ) -> None:
        self._target = target
        self._peers = peers
        self._destination = destination
        self._header_timeout = peers.configured[target.peer].timeouts.response_header
        self._noted = noted
        self._outbound = OutboundRequest(
            method=noted.method,
            target=destination.path + uri,
            host=destination.authority,
            fields=fields,
            client=None,
            body=body,
            upgrade=upgrade,
        )

    def render(self, request: Request) -> int:
        """See `IResource.render`."""
        if self._peers.closed:
            error = Unavailable("llama-swap is shutting down")
            self._noted.over(error)
            refuse(request, error)
            return NOT_DONE_YET
        destination, noted = self._destination, self._noted
        relay = ReverseProxyResource(  # which knows `self`, so `self` must not keep it
            self._outbound,
            destination.pool,
            destination.description,
            self,
            noted,
            header_timeout=self._header_timeout,
        )
        self._peers.begin(self._target)
        noted.grant()
        noted.cancel = relay.cancel
        relay.render(request)
        return NOT_DONE_YET

    def over(self, error: SwapError | None) -> None:
        """See `Requester.over`."""
        self._peers.end(self._target, error)
        self._noted.over(error)

    def joined(self) -> None:
        """See `Requester.joined`."""

    def unanswered(self, request: Request, error: SwapError) -> None:
        """See `Requester.unanswered`."""
        if not isinstance(error, Cancelled):
            error = UpstreamError(f"peer proxy error: {str(error).rstrip('.')}{self._remedy(error)}")
        refuse(request, error)

    def _remedy(self, error: SwapError) -> str:
        peer = self._target.peer
        if self._peers.answers(peer) and not isinstance(error, NobodyListens):
            return ""
        return f"; see whether it runs, and whether peers.{peer}.proxy in the configuration is right"

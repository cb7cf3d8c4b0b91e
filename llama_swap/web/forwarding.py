"""Between a route that knows the model and the relay that serves it: the lease."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.http import Request

from llama_swap.config.model import ModelConfig
from llama_swap.relay.headers import OutboundRequest, end_to_end
from llama_swap.relay.resource import ReverseProxyResource
from llama_swap.routing.names import Names
from llama_swap.routing.router import Router
from llama_swap.scheduling.commands import Target
from llama_swap.web.errors import refuse
from llama_swap.web.site import client_host


class Endpoints(Protocol):
    """Gives the endpoint of an upstream's URL."""

    def endpoint(self, url: str) -> IStreamClientEndpoint: ...


@frozen
class Forwarder:
    """Waits for a model and makes the resource that relays a request to it."""

    router: Router
    endpoints: Endpoints

    @property
    def names(self) -> Names:
        """What clients may call the models."""
        return self.router.names

    async def forward(self, request: Request, target: Target, uri: bytes, body: bytes | None) -> ReverseProxyResource:
        """Return the resource that sends `request` to `target`, with `uri` as its path and query.

        @raise SwapError: it will not be served.  Cancelled when the client leaves.
        """
        model = self.router.config.models[target.model]
        outbound = _outbound(request, model, uri, body)
        endpoint = self.endpoints.endpoint(model.proxy)
        lease = await self.router.acquire(target)
        return ReverseProxyResource(
            outbound, endpoint, f"model {model.id} at {model.proxy}", refuse=refuse, over=lease.release
        )


def _outbound(request: Request, model: ModelConfig, uri: bytes, body: bytes | None) -> OutboundRequest:
    proxy = urlsplit(model.proxy)
    client = client_host(request)
    return OutboundRequest(
        method=request.method,
        target=proxy.path.encode() + uri,
        host=request.getHeader(b"host") or proxy.netloc.encode(),
        fields=end_to_end(
            (name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values
        ),
        client=None if client is None else client.encode(),
        body=body,
    )

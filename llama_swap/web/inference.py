"""The routes that a model answers; the body or the query of the request names it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from llama_swap.bodies.body import LargeBody, Named, read_body, read_query
from llama_swap.config.model import Filters
from llama_swap.errors import BadRequest
from llama_swap.http.headers import Body
from llama_swap.net.worker import Offload
from llama_swap.routing.names import Resolved
from llama_swap.routing.peers import PeerModel
from llama_swap.scheduling.commands import Target
from llama_swap.server.request import SwapRequest, body_of
from llama_swap.web.failures import refuse_failure, refuse_head
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.paths import GET, POST, target_at_upstream

T = TypeVar("T")


class InferenceRoutes:
    """Finds the model of a request, and has the request forwarded to it.

    `offload` runs what would block the reactor.
    """

    def __init__(self, forwarder: Forwarder, offload: Offload) -> None:
        self._forwarder = forwarder
        self._offload = offload

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        for path in POST:
            app.route(path, methods=["POST"])(self.infer)
        for path in GET:
            app.route(path, methods=["GET"])(self.ask)

    def direct(self) -> dict[bytes, Callable[[SwapRequest], IResource]]:
        """Return the POST routes by path, so that `Front` can find them without Klein."""
        return {path.encode(): self.infer for path in POST}

    def infer(self, request: SwapRequest) -> IResource:
        """Return the resource that forwards `request` to the model that its body names."""
        content: Any = request.content
        types = request.head.named.get(b"content-type")
        try:
            named = content.read() if isinstance(content, LargeBody) else read_body(types, content.getvalue())
        except BadRequest as error:
            raise _explained(error, request) from None
        resolved = self._forwarder.names.resolve(named.model)
        filters = self._filters(resolved.target)
        if filters is not None:
            return self._filtered(request, named, resolved, filters)
        return self._forward(request, resolved.target, _as_told(named, resolved))

    def _filtered(
        self, request: SwapRequest, named: Named[bytes | Body], resolved: Resolved, filters: Filters
    ) -> IResource:
        """Do the same for a model or a peer that has filters."""
        from llama_swap.bodies.filters import apply, change_anything, takes_long

        target = resolved.target
        name = target.model if isinstance(target, PeerModel) else named.model
        parameters = named.parameters() if change_anything(filters, name) else None
        if parameters is None:
            return self._forward(request, target, _as_told(named, resolved))

        def change() -> bytes | Body:
            if resolved.name != named.model:
                parameters.set(["model"], resolved.name)
            apply(filters, name, parameters)
            return named.changed(parameters)

        if takes_long(filters, name, parameters):
            return _Later(self._offload(change).addCallback(partial(self._forward, request, target)))
        return self._forward(request, target, change())

    def _forward(self, request: SwapRequest, target: Target | PeerModel, body: bytes | Body) -> IResource:
        return self._forwarder.forward(request, target, target_at_upstream(request.uri), body)

    def _filters(self, target: Target | PeerModel) -> Filters | None:
        config = self._forwarder.names.config
        return (config.peers[target.peer] if isinstance(target, PeerModel) else config.models[target.model]).filters

    def ask(self, request: SwapRequest) -> IResource:
        """Return the resource that forwards `request` to the model that its query names."""
        path, _, query = target_at_upstream(request.uri).partition(b"?")
        refuse_head(request, ("GET", "POST") if path.decode() in POST else ("GET",))
        named = read_query(query)
        resolved = self._forwarder.names.resolve(named.model)
        uri = path + b"?" + _as_told(named, resolved)
        return self._forwarder.forward(request, resolved.target, uri, body_of(request))


class _Later(Resource):
    """Stands for a resource that is still being made; if the client leaves before, it is not used."""

    isLeaf = True

    def __init__(self, made: Deferred[IResource]) -> None:
        super().__init__()
        self._made = made

    def render(self, request: Request) -> int:
        """See `IResource.render`."""
        request.notifyFinish().addErrback(lambda _: self._made.cancel())
        self._made.addCallback(lambda resource: resource.render(request))
        self._made.addErrback(_refuse, request)
        return NOT_DONE_YET


def _explained(error: BadRequest, request: SwapRequest) -> BadRequest:
    """Return `error`, with a hint if the body may be unreadable because it is compressed."""
    if request.head.value(b"content-encoding") is None:
        return error
    return BadRequest(f"{error}; the request has a Content-Encoding, and llama-swap reads only bodies without one")


def _refuse(failure: Failure, request: Request) -> None:
    if not failure.check(CancelledError):
        refuse_failure(request, failure)


def _as_told(named: Named[T], resolved: Resolved) -> T:
    """Return the body or query with the model's name at the upstream."""
    return named.text if resolved.name == named.model else named.renamed(resolved.name)

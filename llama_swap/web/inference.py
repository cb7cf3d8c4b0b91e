"""The routes that a model answers: the request says which, in its body or its query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from klein import Klein
from twisted.web.resource import IResource

from llama_swap.config.model import Filters
from llama_swap.routing.peers import PeerModel
from llama_swap.scheduling.commands import Target
from llama_swap.web.body import LargeBody, Named, read_body, read_query
from llama_swap.web.forwarding import Forwarder
from llama_swap.web.paths import GET, POST, target_at_upstream
from llama_swap.web.site import SwapRequest, body_of

T = TypeVar("T")


class InferenceRoutes:
    """Finds the model of a request, and has the request forwarded to it."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def add_to(self, app: Klein) -> None:
        """Register the routes."""
        for path in POST:
            app.route(path, methods=["POST"])(self.infer)
        for path in GET:
            app.route(path, methods=["GET"])(self.ask)

    def direct(self) -> dict[bytes, Callable[[SwapRequest], IResource]]:
        """Return the POST routes by path, for those who cannot wait for Klein to find them."""
        return {path.encode(): self.infer for path in POST}

    def infer(self, request: SwapRequest) -> IResource:
        """Return the resource that forwards `request` to the model that its body names."""
        content: Any = request.content
        types = request.head.named.get(b"content-type")
        named = content.read() if isinstance(content, LargeBody) else read_body(types, content.getvalue())
        target, body = self._resolve(named)
        filters = self._filters(target) if named.is_json else None
        if filters is not None:
            from llama_swap.web.filters import filtered

            whole = body if isinstance(body, bytes) else b"".join(body.pieces())
            body = filtered(whole, filters, target.model if isinstance(target, PeerModel) else named.model)
        return self._forwarder.forward(request, target, target_at_upstream(request.uri), body)

    def _filters(self, target: Target | PeerModel) -> Filters | None:
        config = self._forwarder.names.config
        return (config.peers[target.peer] if isinstance(target, PeerModel) else config.models[target.model]).filters

    def ask(self, request: SwapRequest) -> IResource:
        """Return the resource that forwards `request` to the model that its query names."""
        path, _, query = request.uri.partition(b"?")
        target, query = self._resolve(read_query(query))
        return self._forwarder.forward(request, target, path + b"?" + query, body_of(request))

    def _resolve(self, named: Named[T]) -> tuple[Target | PeerModel, T]:
        """Return who is asked, and what names the model as the upstream knows it."""
        resolved = self._forwarder.names.resolve(named.model)
        same = resolved.name == named.model
        return resolved.target, named.text if same else named.renamed(resolved.name)
